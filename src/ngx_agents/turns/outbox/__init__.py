"""What is POSTed to addresses of others: out of the journal, in order, to nobody inside unless that is allowed."""
