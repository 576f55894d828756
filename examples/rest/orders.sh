#!/usr/bin/env bash
# The quickstart's PostgreSQL instance with curl instead of Terraform: a configuration group, an
# instance, a database and a user, all with PUT, so that running it again changes nothing.
#
#   . .quickstart/env                         # or set COFFRET_ENDPOINT and COFFRET_TOKEN yourself
#   APP_PASSWORD=… examples/rest/orders.sh    # make it all; the last line is the connection URI
#   examples/rest/orders.sh delete            # remove it
set -euo pipefail

: "${COFFRET_ENDPOINT:?is not set: the control plane, such as http://127.0.0.1:8779}"
: "${COFFRET_TOKEN:?is not set: make one with: coffret token create --project demo --role admin me}"

# api METHOD PATH: sends standard input as the body, prints the answer, ends the script if it is an error.
# Token and passwords stay off the command line, where everyone on the machine could read them.
api() {
    local answer
    answer=$(
        curl --silent --show-error --fail-with-body --request "$1" --data-binary @- \
            --config <(printf 'header = "Authorization: Bearer %s"\n' "$COFFRET_TOKEN") \
            --header 'Content-Type: application/json' "$COFFRET_ENDPOINT/v1$2"
    ) || {
        printf '%s %s failed: %s\n' "$1" "$2" "$answer" >&2
        exit 1
    }
    printf '%s\n' "$answer"
}

put() {
    api PUT "$1" >/dev/null
    echo "  PUT /v1$1"
}

# value KEY…: prints that part of the JSON on standard input.
value() {
    python3 -c 'import functools, json, sys
print(functools.reduce(lambda found, key: found[key], sys.argv[1:], json.load(sys.stdin)))' "$@"
}

if [ "${1-}" = delete ]; then
    api DELETE /instances/orders-rest </dev/null >/dev/null
    left=
    until [ "$left" = '[]' ]; do
        left=$(api GET '/instances?name=orders-rest' </dev/null | value items)
        sleep 0.5
    done
    api DELETE /configuration-groups/orders-rest-settings </dev/null >/dev/null
    echo "orders-rest is gone, with its database, its user and its settings"
    exit
fi

: "${APP_PASSWORD:?is not set: the password of the user app, 8 characters or more}"

echo "1. Settings, checked against what this version of the engine knows"
put /configuration-groups/orders-rest-settings <<'JSON'
{"datastore": "postgresql", "parameters": {"max_connections": 50, "work_mem": 8192}}
JSON

echo "2. The instance; the answer is there at once, the work goes on"
put /instances/orders-rest <<'JSON'
{
  "datastore": "postgresql",
  "flavor": "db.small",
  "volume": {"size": 1},
  "configuration_group": "orders-rest-settings",
  "labels": {"service": "orders"}
}
JSON

echo "3. A database and a user in it; neither has to wait for the instance"
put /instances/orders-rest/databases/orders <<<'{}'
put /instances/orders-rest/users/app < <(
    PASSWORD=$APP_PASSWORD python3 -c 'import json, os
print(json.dumps({"password": os.environ["PASSWORD"],
                  "grants": [{"database": "orders", "privileges": ["ALL"]}]}))'
)

echo "4. Wait for the user; this call answers as soon as it is ready, or after 25 s"
phase=BUILD
while [ "$phase" != ACTIVE ]; do
    user=$(api GET '/instances/orders-rest/users/app?wait_for=ready&timeout=25' </dev/null)
    phase=$(value status phase <<<"$user")
    if [ "$phase" = ERROR ]; then
        value status message <<<"$user" >&2
        exit 1
    fi
done
value status uris orders <<<"$user"
