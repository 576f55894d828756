"""Parameters that are Coffret's: the instance's place and safety hang on them."""

OWNED = frozenset(
    {
        # where it is and who may come in
        "bonjour", "bonjour_name", "config_file", "data_directory", "event_source",
        "external_pid_file", "hba_file", "ident_file", "listen_addresses", "port",
        "unix_socket_directories", "unix_socket_group", "unix_socket_permissions",
        "superuser_reserved_connections", "allow_alter_system", "cluster_name",
        # no parameters, but read as words of their own where one stands
        "include", "include_dir", "include_if_exists",
        # passwords, certificates and keys
        "db_user_namespace", "gss_accept_delegation", "krb_caseins_users", "krb_server_keyfile",
        "md5_password_warnings", "oauth_validator_libraries", "password_encryption", "ssl",
        "ssl_ca_file", "ssl_cert_file", "ssl_ciphers", "ssl_crl_dir", "ssl_crl_file",
        "ssl_dh_params_file", "ssl_ecdh_curve", "ssl_groups", "ssl_key_file",
        "ssl_max_protocol_version", "ssl_min_protocol_version", "ssl_passphrase_command",
        "ssl_passphrase_command_supports_reload", "ssl_prefer_server_ciphers", "ssl_tls13_ciphers",
        # commands and libraries that would run in the engine's account
        "archive_cleanup_command", "archive_command", "archive_library", "archive_mode",
        "dynamic_library_path", "extension_control_path", "jit_provider",
        "local_preload_libraries", "recovery_end_command", "restore_command",
        "session_preload_libraries", "shared_preload_libraries",
        # replication and recovery
        "hot_standby", "primary_conninfo", "primary_slot_name", "promote_trigger_file",
        "recovery_target", "recovery_target_action", "recovery_target_inclusive",
        "recovery_target_lsn", "recovery_target_name", "recovery_target_time",
        "recovery_target_timeline", "recovery_target_xid", "synchronized_standby_slots",
        "synchronous_standby_names", "sync_replication_slots",
        # the log's place
        "log_destination", "log_directory", "log_file_mode", "log_filename", "log_rotation_age",
        "log_rotation_size", "log_truncate_on_rotation", "logging_collector", "syslog_facility",
        "syslog_ident", "syslog_sequence_numbers", "syslog_split_messages",
        # what was acknowledged stays; files and memory stay inside the instance
        "data_sync_retry", "dynamic_shared_memory_type", "fsync", "full_page_writes",
        "huge_page_size", "lc_messages", "restart_after_crash", "shared_memory_type",
        "stats_temp_directory", "temp_tablespaces", "wal_sync_method",
    }
)  # fmt: skip
"""Not settable by a user. https://www.postgresql.org/docs/current/runtime-config.html"""

OWNED_CATEGORIES = frozenset({"Developer Options"})
