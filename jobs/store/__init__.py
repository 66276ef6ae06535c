"""The jobs in Redis: each verb is one atomic Lua script, safe to run twice with the same arguments."""
