"""HTTP: what a call looks like on the wire, in which order it is checked, how it is answered."""
