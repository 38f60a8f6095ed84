"""How agents reach one another: mailboxes, workers, balancing, and carriers between processes."""
