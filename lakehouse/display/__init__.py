"""How plans, runs, states and lineage look to a person, and as JSON to a program. Nothing else imports this."""
