"""The source that is a control plane: its stream's frames, the agent's end of it, and the states it relays.

What the control plane does with the same frames is in `mesh.control`.
"""
