variable "account_id" {
  description = "The AWS account in which everything is made."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account has twelve digits."
  }
}

variable "region" {
  description = "Where the bucket and the instance are."
  type        = string
  default     = "ap-southeast-2"
}

variable "bucket_name" {
  description = "Of the bucket; no other account in the world may have one of this name."
  type        = string
}

variable "prefix" {
  description = "Begins every name, so that several people can try this in one account."
  type        = string
  default     = "devsup-example"
}

variable "make_instance" {
  description = "Make the EC2 instance, which costs money as long as it runs. The roles and the bucket do without."
  type        = bool
  default     = true
}

variable "instance_type" {
  description = "Of the instance; of the x86_64 kind."
  type        = string
  default     = "t3.micro"
}

variable "ssh_public_key" {
  description = "Your public key, as in ~/.ssh/id_ed25519.pub. Without it the instance cannot be reached by ssh."
  type        = string
  default     = null
}

variable "ssh_ingress_cidr" {
  description = "From where ssh is let in, such as 203.0.113.7/32. Without it from nowhere."
  type        = string
  default     = null
}

variable "emulator_endpoint" {
  description = "An AWS emulator such as http://127.0.0.1:4566. Without it this is real AWS."
  type        = string
  default     = null

  validation {
    condition     = var.emulator_endpoint == null ? true : can(regex("^https?://", var.emulator_endpoint))
    error_message = "Expected a URL, such as http://127.0.0.1:4566."
  }
}
