//! AppArmor profiles, and SELinux labels where there is no SELinux (see `tests/selinux`).

mod apparmor;
mod selinux;
