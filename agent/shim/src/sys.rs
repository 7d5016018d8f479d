//! The system calls that have no safe wrapper, each behind a function that has
//! one meaning.
#![allow(unsafe_code)]

use nix::libc;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes over a descriptor that was handed through `execve`.
///
/// # Errors
/// When there is no such open descriptor.
pub fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(F_GETFD) reads a number and touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    // SAFETY: the descriptor is open (checked) and nobody else in this fresh
    // process image owns it: its number came from our own command line.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets every signal to its default and unblocks all of them.
pub fn reset_signals() {
    // Handler, flags, restorer, mask: all zero is the default action. The C
    // library's own function refuses two of the signals, which a daemon may
    // have been started with ignored.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads a structure of at most this size; signals
        // that cannot be set (SIGKILL, SIGSTOP) are refused without effect.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8_usize,
            )
        };
    }
    // SAFETY: `set` is initialised by sigemptyset before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Lets a program start with every signal at its default and none blocked.
pub fn unblock_signals_in(command: &mut Command) {
    let reset = || {
        reset_signals();
        Ok(())
    };
    // SAFETY: it makes two system calls on data of its own and takes no lock.
    unsafe {
        command.pre_exec(reset);
    }
}

/// Ends the process without running anything of ours.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// `PR_CAPBSET_DROP`.
pub fn drop_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let result = unsafe {
        libc::prctl(
            libc::PR_CAPBSET_DROP,
            libc::c_ulong::from(capability),
            0,
            0,
            0,
        )
    };
    check(result.into()).map(drop)
}

/// Empties the ambient set.
pub fn clear_ambient() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let result = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
            0,
            0,
            0,
        )
    };
    check(result.into()).map(drop)
}

/// Sets effective and permitted capabilities; inheritable become none.
pub fn set_capabilities(bits: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header {
        version: 0x2008_0522, // _LINUX_CAPABILITY_VERSION_3
        pid: 0,
    };
    let half = |bits: u32| Data {
        effective: bits,
        permitted: bits,
        inheritable: 0,
    };
    let data = [half(bits as u32), half((bits >> 32) as u32)];
    // SAFETY: both structures have the layout of version 3 and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// Loads a compiled system call filter for this process and what it runs.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` and no-new-privileges, `EINVAL` for a
/// program that the kernel does not take.
pub fn load_filter(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION: usize = size_of::<libc::sock_filter>();
    let count = program.len() / INSTRUCTION;
    if count == 0 || !program.len().is_multiple_of(INSTRUCTION) || count > usize::from(u16::MAX) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // The bytes may lie at any address; the kernel reads them by copying, but a
    // typed pointer has to be aligned.
    let mut aligned: Vec<libc::sock_filter> = Vec::with_capacity(count);
    for bytes in program.chunks_exact(INSTRUCTION) {
        let mut word = [0; INSTRUCTION];
        word.copy_from_slice(bytes);
        aligned.push(libc::sock_filter {
            code: u16::from_ne_bytes([word[0], word[1]]),
            jt: word[2],
            jf: word[3],
            k: u32::from_ne_bytes([word[4], word[5], word[6], word[7]]),
        });
    }
    let program = libc::sock_fprog {
        len: count as u16,
        filter: aligned.as_mut_ptr(),
    };
    // SAFETY: `program` points at `count` instructions that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0 as libc::c_ulong,
            &program,
        )
    })
    .map(drop)
}

/// Brings up the loopback interface of the network namespace we are in.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: socket takes numbers; the result is checked before use.
    let fd = check(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    // SAFETY: the descriptor is new and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: ifreq is plain data; all zeroes is a valid value.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    // SAFETY: SIOCGIFFLAGS fills, and SIOCSIFFLAGS reads, this very structure.
    unsafe {
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request).into())?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request).into())?;
    }
    Ok(())
}

/// Loads an eBPF program of the device kind.
///
/// # Errors
/// The kernel's; the text of its verifier is not asked for.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct ProgLoad {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
        kern_version: u32,
        prog_flags: u32,
    }
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: `attr` is a prefix of union bpf_attr, as the size says, and its
    // pointers are valid for the call.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &attr, size_of::<ProgLoad>())
    })?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a device program to a cgroup, beside others that are there.
///
/// # Errors
/// The kernel's.
pub fn attach_device_program(cgroup: impl AsFd, program: impl AsFd) -> io::Result<()> {
    #[repr(C)]
    struct ProgAttach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    const BPF_PROG_ATTACH: libc::c_long = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attr = ProgAttach {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is a prefix of union bpf_attr, as the size says.
    check(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &attr,
            size_of::<ProgAttach>(),
        )
    })
    .map(drop)
}

/// Sets what a signal does.
///
/// # Errors
/// The kernel's.
pub fn set_action(
    signal: nix::sys::signal::Signal,
    action: &nix::sys::signal::SigAction,
) -> nix::Result<()> {
    // SAFETY: callers pass "ignore" or "default", never a handler.
    unsafe { nix::sys::signal::sigaction(signal, action) }.map(drop)
}

/// Sends a signal, real-time ones included.
///
/// # Errors
/// `EINVAL` for a number that is no signal, `ESRCH` for a process that is gone.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        // Would mean a whole group.
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: kill takes numbers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}
