//! The device allow-list on cgroup v2: a small eBPF program made from the rules
//! and attached between creating and starting the container. On v1 the devices
//! controller does this.

use crate::error::Error;
use crate::sys;
use skep_agent_shim_api::DeviceRule;
use std::fs::File;
use std::path::Path;

// Context of the program: u32 access_type (access << 16 | kind), major, minor.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

/// One instruction: opcode, registers (dst | src << 4), offset, immediate.
const fn op(code: u8, registers: u8, offset: i16, immediate: u32) -> u64 {
    code as u64 | (registers as u64) << 8 | (offset as u16 as u64) << 16 | (immediate as u64) << 32
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4; // 32 bits, immediate
const MOVE_REGISTER: u8 = 0xbc; // 32 bits
const AND: u8 = 0x54; // 32 bits, immediate
const SHIFT_RIGHT: u8 = 0x74; // 32 bits, immediate
const JUMP_NOT_EQUAL: u8 = 0x56; // 32 bits, immediate
const EXIT: u8 = 0x95;

/// The program: r2 = kind, r3 = access asked, r4 = major, r5 = minor; each rule
/// that matches returns 1, the end returns 0.
fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut code = vec![
        op(LOAD_WORD, 0x12, 0, 0),
        op(MOVE_REGISTER, 0x23, 0, 0),
        op(AND, 2, 0, 0xffff),
        op(SHIFT_RIGHT, 3, 0, 16),
        op(LOAD_WORD, 0x14, 4, 0),
        op(LOAD_WORD, 0x15, 8, 0),
    ];
    for rule in rules {
        let kind = if rule.kind == 'b' { BLOCK } else { CHARACTER };
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0,
            };
        }
        // Each test jumps over what is left of the rule when it fails.
        let mut tests: Vec<Vec<(u8, u8, u32)>> = vec![vec![(JUMP_NOT_EQUAL, 2, kind)]];
        tests.push(vec![
            (MOVE_REGISTER, 0x31, 0),
            (AND, 1, !access),
            (JUMP_NOT_EQUAL, 1, 0),
        ]);
        tests.extend(rule.major.map(|major| vec![(JUMP_NOT_EQUAL, 4, major)]));
        tests.extend(rule.minor.map(|minor| vec![(JUMP_NOT_EQUAL, 5, minor)]));
        let flat: Vec<(u8, u8, u32)> = tests.into_iter().flatten().collect();
        for (index, (code_byte, registers, immediate)) in flat.iter().enumerate() {
            let offset = if *code_byte == JUMP_NOT_EQUAL {
                // Past the remaining tests and the two instructions below.
                (flat.len() - index - 1 + 2) as i16
            } else {
                0
            };
            code.push(op(*code_byte, *registers, offset, *immediate));
        }
        code.push(op(MOVE, 0, 0, 1));
        code.push(op(EXIT, 0, 0, 0));
    }
    code.push(op(MOVE, 0, 0, 0));
    code.push(op(EXIT, 0, 0, 0));
    code
}

/// Allows the devices of `rules`, and no other, to the cgroup at `dir`.
///
/// # Errors
/// A kernel that takes no such program: the container must not start then.
pub fn restrict(dir: &Path, rules: &[DeviceRule]) -> Result<(), Error> {
    let cgroup = File::open(dir).map_err(|source| Error::File {
        verb: "open",
        path: dir.to_owned(),
        source,
    })?;
    let program = sys::load_device_program(&program(rules))
        .map_err(Error::kernel("load the device filter"))?;
    sys::attach_device_program(&cgroup, &program).map_err(Error::kernel("attach the device filter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the few instructions that `program` uses.
    fn allows(code: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 6];
        let mut at = 0usize;
        loop {
            let word = code[at];
            let (dst, src) = ((word >> 8 & 0xf) as usize, (word >> 12 & 0xf) as usize);
            let (offset, immediate) = ((word >> 16) as i16, (word >> 32) as u32);
            at += 1;
            match word as u8 {
                LOAD_WORD => registers[dst] = context[offset as usize / 4],
                MOVE => registers[dst] = immediate,
                MOVE_REGISTER => registers[dst] = registers[src],
                AND => registers[dst] &= immediate,
                SHIFT_RIGHT => registers[dst] >>= immediate,
                JUMP_NOT_EQUAL if registers[dst] != immediate => at += offset as usize,
                JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_default_list_opens_null_but_not_fuse_or_disks() {
        let code = program(&DeviceRule::docker_default());
        assert!(allows(&code, CHARACTER, READ | WRITE, 1, 3));
        assert!(allows(&code, CHARACTER, READ, 136, 7));
        assert!(allows(&code, CHARACTER, MKNOD, 10, 229));
        assert!(allows(&code, BLOCK, MKNOD, 8, 0));
        assert!(!allows(&code, CHARACTER, READ, 10, 229));
        assert!(!allows(&code, BLOCK, READ, 8, 0));
        assert!(!allows(&code, CHARACTER, READ | MKNOD, 10, 229));
        assert!(!allows(&code, BLOCK, READ, 1, 3));
    }

    #[test]
    fn the_kernel_takes_the_program() -> Result<(), Error> {
        sys::load_device_program(&program(&DeviceRule::docker_default()))
            .map(drop)
            .map_err(Error::kernel("load the device filter"))
    }
}
