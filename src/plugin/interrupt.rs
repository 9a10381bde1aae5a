//! The only raw code of the plugin engine: Luau's interrupt, and the thread's CPU clock.
//!
//! Luau calls the interrupt at loop edges, calls, returns and inside pattern matching. A closure
//! through mlua costs a third of a plugin's whole running time there, so this one is set directly.

use std::os::raw::c_int;
use std::time::Duration;

use mlua::{Lua, ffi};

use super::budget;

const MESSAGE: &[u8] = b"E_BUDGET: the plugin used up its budget";

/// Makes every step of `lua` count against the budget armed on its thread.
///
/// # Errors
///
/// The machine is out of memory.
pub fn install(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: the closure touches no stack slot. `lua_callbacks` gives the callbacks of a live state,
    // valid as long as it; only `interrupt` is written, which mlua leaves alone unless its own
    // `set_interrupt` is called, and the engine never calls that.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            (*ffi::lua_callbacks(state)).interrupt = Some(interrupt);
        })
    }
}

/// Counts one step, and raises a Lua error once the budget is spent.
unsafe extern "C-unwind" fn interrupt(state: *mut ffi::lua_State, gc: c_int) {
    // The collector's own calls come with its state and must not raise.
    if gc >= 0 || !budget::step() {
        return;
    }
    // SAFETY: Luau passes a live state. Nothing with a destructor is alive here, so the error may
    // unwind this frame; the stack is grown before it is pushed on.
    unsafe {
        ffi::luaL_checkstack(state, 2, std::ptr::null());
        ffi::lua_pushlstring(state, MESSAGE.as_ptr().cast(), MESSAGE.len());
        ffi::lua_error(state)
    }
}

/// CPU time that the calling thread has used.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec, which the call only writes.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0;
    if failed { Duration::MAX } else { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) }
}
