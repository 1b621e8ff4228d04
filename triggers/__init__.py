"""The kernel that training and serving share: triggers, frozen model, forward pass, counts, artifacts, stores."""
