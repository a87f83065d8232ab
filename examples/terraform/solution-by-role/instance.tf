# The shared development instance. It is role1, and nothing else.

resource "aws_iam_instance_profile" "role1" {
  name = "${var.prefix}-role1"
  role = aws_iam_role.role1.name
}

data "aws_ssm_parameter" "image" {
  count = var.make_instance ? 1 : 0
  name  = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_key_pair" "developer" {
  count      = var.make_instance && var.ssh_public_key != null ? 1 : 0
  key_name   = "${var.prefix}-developer"
  public_key = var.ssh_public_key
}

resource "aws_security_group" "instance" {
  count       = var.make_instance ? 1 : 0
  name        = "${var.prefix}-instance"
  description = "ssh in, everything out"

  dynamic "ingress" {
    for_each = var.ssh_ingress_cidr == null ? [] : [var.ssh_ingress_cidr]

    content {
      description = "ssh"
      from_port   = 22
      to_port     = 22
      protocol    = "tcp"
      cidr_blocks = [ingress.value]
    }
  }

  egress {
    description = "AWS, and packages"
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "development" {
  count                       = var.make_instance ? 1 : 0
  ami                         = data.aws_ssm_parameter.image[0].value
  instance_type               = var.instance_type
  iam_instance_profile        = aws_iam_instance_profile.role1.name
  key_name                    = one(aws_key_pair.developer[*].key_name)
  vpc_security_group_ids      = aws_security_group.instance[*].id
  associate_public_ip_address = true

  # IMDSv2 only: a request that a service was tricked into gets no credentials.
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  tags = {
    Name = "${var.prefix}-development"
  }
}
