"""From a board and a configuration to a bitstream, with tools that come as Python packages."""
