"""The core: what a session is. Pure data and rules; time and ids are arguments, nothing here does I/O."""
