"""From one request to one answer under one deadline: targets, rungs, attempts, retries, failover."""
