"""From labelled files to a model: what is sampled, how it is changed, and the loop. Room of torch and Lightning."""
