"""The edges that see what the agent proposes: the kernel (receiver, keeper) and the network (proxy). Each owns its library."""
