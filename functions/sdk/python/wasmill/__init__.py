"""Functions for wasmill: `wasmill.event` takes events, `wasmill.http` answers requests."""
