//! The methods that scripts call most on samples, and the step from one sample to the next, past mlua's
//! layer.
//!
//! Luau sends a method call on a userdata through `__namecall`. That of samples is put behind a raw function
//! that knows `is`, `get`, `has`, `set` and `rename` and does them where nothing is wrong. In any other case
//! it calls what mlua put there, which does the whole call and words the error. So nothing is raised here,
//! and a script cannot tell the two ways apart.
//!
//! # Invariants
//!
//! 1. A call that is not done here has changed nothing when it is handed on.
//! 2. Nothing with a destructor is alive when a function of Lua is called that may raise.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, Variadic, ffi};

use super::state::State;

/// What a call gives back.
enum Done {
    Nothing,
    Nil,
    Bool(bool),
    /// A piece of the draft's arena.
    Text(*const u8, usize),
}

/// Puts the fast methods in front of those of `samples`, which are all sample handles of the machine and
/// share a metatable. The machine must not outlive `state`.
///
/// # Errors
///
/// The machine is out of memory.
pub fn install(lua: &Lua, state: &Rc<State>, samples: &[AnyUserData]) -> mlua::Result<()> {
    let shared: *const State = Rc::as_ptr(state);
    let handles: Variadic<AnyUserData> = samples.iter().cloned().collect();
    // SAFETY: the closure runs protected, with the handles as its stack and room for more (mlua keeps
    // LUA_MINSTACK free). The metatable is the one of the handles' type in this machine alone; it is
    // read-only to scripts again afterwards. The pointer to the state stays valid for as long as scripts
    // can run, since `Vm` holds both.
    unsafe {
        lua.exec_raw::<()>(handles, |raw| {
            for (which, known) in state.sample_pointers.iter().enumerate() {
                known.set(ffi::lua_touserdata(raw, which as c_int + 1));
            }
            if ffi::lua_getmetatable(raw, 1) == 0 {
                return;
            }
            ffi::lua_setreadonly(raw, -1, 0);
            ffi::lua_pushlightuserdata(raw, shared as *mut c_void);
            ffi::lua_rawgetfield(raw, -2, c"__namecall".as_ptr());
            ffi::lua_pushcclosurek(raw, namecall, c"__namecall".as_ptr(), 2, None);
            ffi::lua_rawsetfield(raw, -2, c"__namecall".as_ptr());
            ffi::lua_setreadonly(raw, -1, 1);
            ffi::lua_settop(raw, 0);
        })
    }
}

/// A function for scripts' drivers: given what a hook returned, aims the sample handle at the next sample of
/// the walk and returns true; false if the hook returned anything or no sample is left.
///
/// # Errors
///
/// The machine is out of memory.
pub fn stepper(lua: &Lua, state: &Rc<State>) -> mlua::Result<Function> {
    let shared: *const State = Rc::as_ptr(state);
    // SAFETY: the closure only pushes, within the room that mlua keeps free. The pointer stays valid for as
    // long as scripts can run, since `Vm` holds both.
    unsafe {
        lua.exec_raw((), |raw| {
            ffi::lua_pushlightuserdata(raw, shared as *mut c_void);
            ffi::lua_pushcclosurek(raw, step, c"step".as_ptr(), 1, None);
        })
    }
}

unsafe extern "C-unwind" fn step(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine; the upvalue is the pointer that `stepper` pushed. Pushing a
    // boolean raises nothing.
    unsafe {
        let state = &*(ffi::lua_touserdata(lua, ffi::lua_upvalueindex(1)) as *const State);
        let is_kept = ffi::lua_type(lua, 1) <= ffi::LUA_TNIL;
        let goes_on = is_kept
            && catch_unwind(AssertUnwindSafe(|| state.advance())).unwrap_or_else(|panic| {
                drop(panic);
                if let Ok(mut walk) = state.walk.try_borrow_mut() {
                    walk.failed = true;
                }
                false
            });
        ffi::lua_pushboolean(lua, c_int::from(goes_on));
        1
    }
}

/// `__namecall` of samples. Upvalues: the state, and the function that mlua put there.
unsafe extern "C-unwind" fn namecall(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine with the call's arguments on the stack; the first upvalue is the
    // pointer that `install` pushed, to a state that lives as long as scripts can run. A C function has room
    // for LUA_MINSTACK values beyond its arguments. The text lies in the draft's arena, which no code of
    // Lua's reaches while it copies.
    unsafe {
        let name = ffi::lua_namecallatom(lua, ptr::null_mut());
        if !name.is_null() {
            let state = &*(ffi::lua_touserdata(lua, ffi::lua_upvalueindex(1)) as *const State);
            let name = CStr::from_ptr(name).to_bytes();
            // A panic is one more thing that mlua's way words.
            let done = catch_unwind(AssertUnwindSafe(|| call(lua, state, name)));
            match done {
                Ok(Some(Done::Nothing)) => return 0,
                Ok(Some(Done::Nil)) => {
                    ffi::lua_pushnil(lua);
                    return 1;
                }
                Ok(Some(Done::Bool(is))) => {
                    ffi::lua_pushboolean(lua, c_int::from(is));
                    return 1;
                }
                Ok(Some(Done::Text(start, length))) => {
                    ffi::lua_pushlstring(lua, start.cast(), length);
                    return 1;
                }
                Ok(None) => {}
                Err(panic) => drop(panic),
            }
        }
        let count = ffi::lua_gettop(lua);
        ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(2));
        ffi::lua_insert(lua, 1);
        ffi::lua_call(lua, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(lua)
    }
}

/// Does a call, or `None` if mlua's way must.
///
/// # Safety
///
/// `lua` is a live machine in a call of a method on a sample.
unsafe fn call(lua: *mut ffi::lua_State, state: &State, name: &[u8]) -> Option<Done> {
    // SAFETY: as the caller promises; both only look.
    let (handle, count) = unsafe { (ffi::lua_touserdata(lua, 1), ffi::lua_gettop(lua)) };
    let which = state.sample_pointers.iter().position(|known| known.get() == handle)?;
    let at = state.samples.get(which as u8).ok()?;
    // SAFETY: as the caller promises. The texts stay on the stack for the length of this call.
    let text = |index: c_int| unsafe { text(lua, index) };
    match (name, count) {
        (b"is", 3) => {
            let (label, value) = (text(2)?, text(3)?);
            let draft = state.stage.draft.try_borrow().ok()?;
            Some(Done::Bool(draft.label(at, label) == Some(value)))
        }
        (b"has", 2) => {
            let label = text(2)?;
            let draft = state.stage.draft.try_borrow().ok()?;
            Some(Done::Bool(draft.label(at, label).is_some()))
        }
        (b"get", 2) => {
            let label = text(2)?;
            let draft = state.stage.draft.try_borrow().ok()?;
            Some(match draft.label(at, label) {
                Some(value) => Done::Text(value.as_ptr(), value.len()),
                None => Done::Nil,
            })
        }
        (b"set", 3) if state.may_transform() => {
            let (label, value) = (text(2)?, text(3)?);
            state.stage.draft.try_borrow_mut().ok()?.set_label(at, label, value).ok()?;
            Some(Done::Nothing)
        }
        (b"rename", 3) if state.may_transform() => {
            let (from, to) = (text(2)?, text(3)?);
            let was = state.stage.draft.try_borrow_mut().ok()?.rename_label(at, from, to).ok()?;
            Some(Done::Bool(was))
        }
        _ => None,
    }
}

/// The argument at `index` if it is a string of UTF-8.
///
/// # Safety
///
/// `lua` is live and has that argument, which stays where it is for the lifetime chosen.
unsafe fn text<'l>(lua: *mut ffi::lua_State, index: c_int) -> Option<&'l str> {
    // SAFETY: as the caller promises; a value of type string is not converted, so its bytes stay put.
    let bytes = unsafe {
        if ffi::lua_type(lua, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let start = ffi::lua_tolstring(lua, index, &mut length);
        std::slice::from_raw_parts(start.cast::<u8>(), length)
    };
    std::str::from_utf8(bytes).ok()
}
