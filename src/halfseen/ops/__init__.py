"""Pure tensor functions: no files, no devices of their own, no global state. They import torch only."""
