"""The `ngx` command: one file per subcommand; nothing here is imported by the rest."""
