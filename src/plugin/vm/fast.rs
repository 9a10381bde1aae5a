//! The methods and fields that scripts use most on samples, and the step from one sample to the next, past
//! mlua's layer.
//!
//! Luau sends a method call on a userdata through `__namecall`, and fields through `__index` and
//! `__newindex`. Those of samples and of their labels are put behind raw functions that know the commonest
//! names and do what they say where nothing is wrong. In any other case they call what mlua put there,
//! which does the whole and words the error. So nothing is raised here, and a script cannot tell the two
//! ways apart. Names are told apart by the atoms that Luau keeps with its strings.
//!
//! # Invariants
//!
//! 1. A call that is not done here has changed nothing when it is handed on.
//! 2. Nothing with a destructor is alive when a function of Lua is called that may raise.

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, Variadic, ffi};

use super::state::{Place, State};
use crate::model::MetricType;

/// The names known here; their positions are the atoms of Luau's strings.
const NAMES: [&[u8]; 8] = [b"is", b"get", b"has", b"set", b"rename", b"value", b"name", b"labels"];
const IS: c_int = 0;
const GET: c_int = 1;
const HAS: c_int = 2;
const SET: c_int = 3;
const RENAME: c_int = 4;
const VALUE: c_int = 5;
const NAME: c_int = 6;
const LABELS: c_int = 7;

/// What a call gives back.
enum Done {
    Nothing,
    Nil,
    Bool(bool),
    Number(f64),
    /// A piece of the draft's arena.
    Text(*const u8, usize),
    /// The labels of the hook's own sample: the third upvalue.
    Labels,
}

/// Puts the fast ways in front of those of `samples` and of their `labels`, which are all such handles of
/// the machine, those of a kind with one metatable. The machine must not outlive `state`.
///
/// # Errors
///
/// The machine is out of memory.
pub fn install(
    lua: &Lua,
    state: &Rc<State>,
    samples: &[AnyUserData],
    labels: &[AnyUserData],
) -> mlua::Result<()> {
    let shared: *const State = Rc::as_ptr(state);
    let handles: Variadic<AnyUserData> = samples.iter().chain(labels).cloned().collect();
    // SAFETY: the closure runs protected, with the handles as its stack and room for more (mlua keeps
    // LUA_MINSTACK free). The metatables are those of the handles' types in this machine alone; they are
    // read-only to scripts again afterwards. The pointer to the state stays valid for as long as scripts
    // can run, since `Vm` holds both. `lua_callbacks` gives the callbacks of a live state; mlua leaves
    // `useratom` and the data of threads alone. Scripts run on the machine's main thread alone, which this is.
    unsafe {
        lua.exec_raw::<()>(handles, |raw| {
            (*ffi::lua_callbacks(raw)).useratom = Some(atom);
            ffi::lua_setthreaddata(raw, shared as *mut c_void);
            let known = state.sample_pointers.iter().chain(&state.labels_pointers);
            for (which, known) in known.enumerate() {
                known.set(ffi::lua_touserdata(raw, which as c_int + 1));
            }
            let first_labels = state.sample_pointers.len() as c_int + 1;
            for (handle, functions) in [
                (
                    1,
                    [
                        (c"__namecall", namecall as ffi::lua_CFunction),
                        (c"__index", index),
                        (c"__newindex", new_index),
                    ]
                    .as_slice(),
                ),
                (
                    first_labels,
                    [(c"__index", labels_index as ffi::lua_CFunction), (c"__newindex", labels_new_index)]
                        .as_slice(),
                ),
            ] {
                if ffi::lua_getmetatable(raw, handle) == 0 {
                    continue;
                }
                ffi::lua_setreadonly(raw, -1, 0);
                for (name, function) in functions {
                    ffi::lua_rawgetfield(raw, -1, name.as_ptr());
                    ffi::lua_pushvalue(raw, first_labels);
                    ffi::lua_pushcclosurek(raw, *function, name.as_ptr(), 2, None);
                    ffi::lua_rawsetfield(raw, -2, name.as_ptr());
                }
                ffi::lua_setreadonly(raw, -1, 1);
                ffi::lua_pop(raw, 1);
            }
            ffi::lua_settop(raw, 0);
        })
    }
}

/// The atom of a string.
unsafe extern "C-unwind" fn atom(_: *mut ffi::lua_State, start: *const c_char, length: usize) -> i16 {
    // SAFETY: Luau passes a string of its own.
    let name = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) };
    NAMES.iter().position(|known| *known == name).map_or(-1, |at| at as i16)
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

/// `__namecall` of samples.
unsafe extern "C-unwind" fn namecall(lua: *mut ffi::lua_State) -> c_int {
    let mut atom = -1;
    // SAFETY: Luau passes a live machine in a call of a method.
    unsafe {
        ffi::lua_namecallatom(lua, &mut atom);
        finish(lua, |state| (atom >= 0).then(|| call(lua, state, atom))?)
    }
}

/// `__index` of samples.
unsafe extern "C-unwind" fn index(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine with handle and field on the stack.
    unsafe { finish(lua, |state| field(lua, state)) }
}

/// `__newindex` of samples.
unsafe extern "C-unwind" fn new_index(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine with handle, field and value on the stack.
    unsafe { finish(lua, |state| set_field(lua, state)) }
}

/// `__index` of `s.labels`.
unsafe extern "C-unwind" fn labels_index(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine with handle and name on the stack.
    unsafe {
        finish(lua, |state| {
            let handle = ffi::lua_touserdata(lua, 1);
            let which = state.labels_pointers.iter().position(|known| known.get() == handle)?;
            get(state, state.samples.get(which as u8).ok()?, bytes(lua, 2)?)
        })
    }
}

/// `__newindex` of `s.labels`.
unsafe extern "C-unwind" fn labels_new_index(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Luau passes a live machine with handle, name and value on the stack.
    unsafe {
        finish(lua, |state| {
            let handle = ffi::lua_touserdata(lua, 1);
            let which = state.labels_pointers.iter().position(|known| known.get() == handle)?;
            let at = state.samples.get(which as u8).ok()?;
            set(state, at, text(lua, 2)?, text(lua, 3)?)
        })
    }
}

/// Gives back what `attempt` did; if it did nothing, does what mlua does. The function's upvalues are
/// mlua's function, and the labels of the hook's own sample.
///
/// # Safety
///
/// `lua` is a live machine that calls one of the functions installed here.
unsafe fn finish(lua: *mut ffi::lua_State, attempt: impl FnOnce(&State) -> Option<Done>) -> c_int {
    // SAFETY: the thread's data is the pointer that `install` put there, to a state that lives as long as
    // scripts can run, or null. A C function has room for LUA_MINSTACK values beyond its arguments. The text
    // lies in the draft's arena, which no code of Lua's reaches while it copies.
    unsafe {
        let Some(state) = (ffi::lua_getthreaddata(lua) as *const State).as_ref() else {
            return hand_on(lua);
        };
        // A panic is one more thing that mlua's way words.
        let done = catch_unwind(AssertUnwindSafe(|| attempt(state))).unwrap_or_else(|panic| {
            drop(panic);
            None
        });
        match done {
            Some(Done::Nothing) => return 0,
            Some(Done::Nil) => ffi::lua_pushnil(lua),
            Some(Done::Bool(is)) => ffi::lua_pushboolean(lua, c_int::from(is)),
            Some(Done::Number(number)) => ffi::lua_pushnumber(lua, number),
            Some(Done::Text(start, length)) => {
                ffi::lua_pushlstring(lua, start.cast(), length);
            }
            Some(Done::Labels) => ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(2)),
            None => return hand_on(lua),
        }
        1
    }
}

/// Calls what mlua put there.
///
/// # Safety
///
/// As [`finish`].
unsafe fn hand_on(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: as the caller promises. Nothing with a destructor is alive.
    unsafe {
        let count = ffi::lua_gettop(lua);
        ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(1));
        ffi::lua_insert(lua, 1);
        ffi::lua_call(lua, count, ffi::LUA_MULTRET);
        ffi::lua_gettop(lua)
    }
}

/// The sample that the handle at the bottom of the stack points at.
///
/// # Safety
///
/// `lua` is a live machine.
unsafe fn sample(lua: *mut ffi::lua_State, state: &State) -> Option<u32> {
    // SAFETY: as the caller promises; it only looks.
    let handle = unsafe { ffi::lua_touserdata(lua, 1) };
    let which = state.sample_pointers.iter().position(|known| known.get() == handle)?;
    state.samples.get(which as u8).ok()
}

/// Does a call of a method, or `None` if mlua's way must.
///
/// # Safety
///
/// `lua` is a live machine in a call of a method on a sample.
unsafe fn call(lua: *mut ffi::lua_State, state: &State, method: c_int) -> Option<Done> {
    // SAFETY: as the caller promises. The texts stay on the stack for the length of this call. Arguments that
    // are not there are no strings, and further ones are of no account, as in mlua's way.
    unsafe {
        let at = sample(lua, state)?;
        match method {
            IS => {
                let (label, value) = (bytes(lua, 2)?, bytes(lua, 3)?);
                let draft = state.stage.draft.try_borrow().ok()?;
                Some(Done::Bool(draft.label_bytes(at, label) == Some(value)))
            }
            HAS => {
                let label = bytes(lua, 2)?;
                let draft = state.stage.draft.try_borrow().ok()?;
                Some(Done::Bool(draft.label_bytes(at, label).is_some()))
            }
            GET => get(state, at, bytes(lua, 2)?),
            SET => set(state, at, text(lua, 2)?, text(lua, 3)?),
            RENAME if state.may_transform() => {
                let (from, to) = (text(lua, 2)?, text(lua, 3)?);
                let was = state.stage.draft.try_borrow_mut().ok()?.rename_label(at, from, to).ok()?;
                Some(Done::Bool(was))
            }
            _ => None,
        }
    }
}

/// Reads a field.
///
/// # Safety
///
/// `lua` is a live machine that reads a field of a sample.
unsafe fn field(lua: *mut ffi::lua_State, state: &State) -> Option<Done> {
    // SAFETY: as the caller promises.
    let (at, field) = unsafe { (sample(lua, state)?, atom_at(lua, 2)?) };
    let draft = state.stage.draft.try_borrow().ok()?;
    match field {
        VALUE if state.place.get() != Place::Series => {
            let data = draft.sample(at);
            Some(match draft.family(data.family).kind {
                MetricType::Counter | MetricType::Gauge | MetricType::Untyped => Done::Number(data.value),
                _ => Done::Nil,
            })
        }
        NAME => {
            let name = draft.family_name(draft.sample(at).family);
            Some(Done::Text(name.as_ptr(), name.len()))
        }
        // SAFETY: as the caller promises.
        LABELS if unsafe { ffi::lua_touserdata(lua, 1) } == state.sample_pointers[0].get() => {
            Some(Done::Labels)
        }
        _ => None,
    }
}

/// Writes a field.
///
/// # Safety
///
/// `lua` is a live machine that writes a field of a sample.
unsafe fn set_field(lua: *mut ffi::lua_State, state: &State) -> Option<Done> {
    // SAFETY: as the caller promises; a value of type number is not converted.
    unsafe {
        let at = sample(lua, state)?;
        let is_value = atom_at(lua, 2)? == VALUE && ffi::lua_type(lua, 3) == ffi::LUA_TNUMBER;
        if !is_value || state.place.get() == Place::Series || !state.may_transform() {
            return None;
        }
        let value = ffi::lua_tonumber(lua, 3);
        state.stage.draft.try_borrow_mut().ok()?.set_value(at, value).ok()?;
        Some(Done::Nothing)
    }
}

fn get(state: &State, at: u32, label: &[u8]) -> Option<Done> {
    let draft = state.stage.draft.try_borrow().ok()?;
    Some(match draft.label_bytes(at, label) {
        Some(value) => Done::Text(value.as_ptr(), value.len()),
        None => Done::Nil,
    })
}

fn set(state: &State, at: u32, label: &str, value: &str) -> Option<Done> {
    if !state.may_transform() {
        return None;
    }
    state.stage.draft.try_borrow_mut().ok()?.set_label(at, label, value).ok()?;
    Some(Done::Nothing)
}

/// The atom of the string at `index`, if it is a string that has one.
///
/// # Safety
///
/// `lua` is live and has a value there.
unsafe fn atom_at(lua: *mut ffi::lua_State, index: c_int) -> Option<c_int> {
    // SAFETY: as the caller promises; a value of type string is not converted.
    unsafe {
        if ffi::lua_type(lua, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut atom = -1;
        ffi::lua_tostringatom(lua, index, &mut atom);
        (atom >= 0).then_some(atom)
    }
}

/// The argument at `index` if it is a string.
///
/// # Safety
///
/// `lua` is live and has that argument, which stays where it is for the lifetime chosen.
unsafe fn bytes<'l>(lua: *mut ffi::lua_State, index: c_int) -> Option<&'l [u8]> {
    // SAFETY: as the caller promises; nothing is converted, and what is no string gives null.
    unsafe {
        let mut length = 0;
        let start = ffi::lua_tolstringatom(lua, index, &mut length, ptr::null_mut()).cast::<u8>();
        (!start.is_null()).then(|| std::slice::from_raw_parts(start, length))
    }
}

/// The argument at `index` if it is a string of UTF-8.
///
/// # Safety
///
/// As [`bytes`].
unsafe fn text<'l>(lua: *mut ffi::lua_State, index: c_int) -> Option<&'l str> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes(lua, index) }?;
    if bytes.is_ascii() {
        // SAFETY: ASCII is UTF-8. Names and values are short, and nearly all are: this is found out faster.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}
