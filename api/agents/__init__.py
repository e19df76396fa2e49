"""What an agent is: the versioned recipe that a session pins. Pure data and rules."""
