"""Where versions are kept: one protocol, three stores."""
