"""What nodes lack, brought to them: madrun itself, the repository, images, the folder of a launch."""
