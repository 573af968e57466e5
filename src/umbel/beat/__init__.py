"""When tasks are to be sent by the clock."""
