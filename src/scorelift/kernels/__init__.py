"""The few hot operators, each a plain reference and a fast form held to it."""
