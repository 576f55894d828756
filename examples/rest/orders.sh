#!/usr/bin/env bash
# The quickstart's PostgreSQL instance with curl instead of Terraform: a configuration group, an
# instance, a database and a user, all with PUT, so that running it again changes nothing.
#
#   . .quickstart/env        # or set COFFRET_ENDPOINT and COFFRET_TOKEN yourself
#   APP_PASSWORD=… examples/rest/orders.sh           # make it; prints the connection URI
#   examples/rest/orders.sh delete                   # remove it
set -euo pipefail

: "${COFFRET_ENDPOINT:?is not set: the control plane, such as http://127.0.0.1:8779}"
: "${COFFRET_TOKEN:?is not set: make one with: coffret token create --project demo --role admin me}"

# api METHOD PATH: the body comes from standard input; token and passwords stay off the command line.
api() {
    curl --silent --show-error --fail-with-body --request "$1" --data-binary @- \
        --config <(printf 'header = "Authorization: Bearer %s"\n' "$COFFRET_TOKEN") \
        --header 'Content-Type: application/json' "$COFFRET_ENDPOINT/v1$2"
}
# Print one value of the JSON on standard input: value status uris orders
value() {
    python3 -c 'import functools, json, sys
print(functools.reduce(lambda found, key: found[key], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

if [ "${1-}" = delete ]; then
    api DELETE /instances/orders-rest </dev/null
    echo "orders-rest goes; its databases and users go with it"
    until [ "$(curl --silent --output /dev/null --write-out '%{http_code}' \
        --config <(printf 'header = "Authorization: Bearer %s"\n' "$COFFRET_TOKEN") \
        "$COFFRET_ENDPOINT/v1/instances/orders-rest")" = 404 ]; do
        sleep 1
    done
    api DELETE /configuration-groups/orders-rest-settings </dev/null
    echo "all gone"
    exit
fi

: "${APP_PASSWORD:?is not set: the password of the user app, 8 characters or more}"

echo "1. Settings, checked against what this version of the engine knows:"
api PUT /configuration-groups/orders-rest-settings <<'JSON'
{"datastore": "postgresql", "parameters": {"max_connections": 50, "work_mem": 8192}}
JSON

echo "2. The instance. The answer is there at once; the work goes on:"
api PUT /instances/orders-rest <<'JSON'
{
  "datastore": "postgresql",
  "flavor": "db.small",
  "volume": {"size": 1},
  "configuration_group": "orders-rest-settings",
  "labels": {"service": "orders"}
}
JSON

echo "3. A database and a user in it; neither needs to wait for the instance:"
api PUT /instances/orders-rest/databases/orders <<<'{}'
PASSWORD=$APP_PASSWORD python3 -c 'import json, os
print(json.dumps({"password": os.environ["PASSWORD"],
                  "grants": [{"database": "orders", "privileges": ["ALL"]}]}))' |
    api PUT /instances/orders-rest/users/app

echo "4. Wait for the user; this call answers as soon as it is there:"
until user=$(api GET '/instances/orders-rest/users/app?wait_for=ready&timeout=25' </dev/null) &&
    [ "$(value status ready <<<"$user")" = True ]; do
    sleep 1
done
value status uris orders <<<"$user"
