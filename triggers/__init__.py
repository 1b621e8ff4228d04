"""What training and serving must do identically: triggers, frozen model, forward pass, counts, artifacts, stores."""
