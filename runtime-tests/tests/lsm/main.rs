//! AppArmor profiles and SELinux labels: of the program, of `exec`, of mounts and keyrings.

mod apparmor;
mod selinux;
