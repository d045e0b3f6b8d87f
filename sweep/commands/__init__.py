"""What the commands share: arguments, messages, exit codes, tables on the terminal."""
