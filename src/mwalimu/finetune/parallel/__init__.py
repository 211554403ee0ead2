"""Several processes train one student: started by torchrun or accelerate, one a GPU."""
