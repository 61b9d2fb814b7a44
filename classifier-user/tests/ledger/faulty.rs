//! A file system that fails when it is told to: SQLite's own, with what changes a file counted, and the one that is due
//! refused. It is the default of this process, so that a ledger is opened as ever.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rusqlite::ffi;

/// Operations until the one that fails; none does while it is negative.
static LEFT: AtomicI64 = AtomicI64::new(-1);
/// What it fails with.
static CODE: AtomicI32 = AtomicI32::new(ffi::SQLITE_IOERR_WRITE);
/// Whether all after it fail as well.
static STAYS: AtomicBool = AtomicBool::new(false);
/// How many there were.
static COUNTED: AtomicI64 = AtomicI64::new(0);

/// How operations fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Operations before it.
    pub(crate) after: i64,
    /// SQLite's code.
    pub(crate) code: c_int,
    /// All of them from then on, until somebody makes room.
    pub(crate) stays: bool,
}

/// From now on, until [`mend`].
pub(crate) fn fail(fault: Fault) {
    FAILED.store(false, Ordering::SeqCst);
    CODE.store(fault.code, Ordering::SeqCst);
    STAYS.store(fault.stays, Ordering::SeqCst);
    LEFT.store(fault.after, Ordering::SeqCst);
}

/// Nothing fails any more.
pub(crate) fn mend() {
    LEFT.store(-1, Ordering::SeqCst);
}

/// Operations since the process began.
pub(crate) fn counted() -> i64 {
    COUNTED.load(Ordering::SeqCst)
}

/// Whether the present operation is the one.
fn due() -> Option<c_int> {
    COUNTED.fetch_add(1, Ordering::SeqCst);
    let left = LEFT.load(Ordering::SeqCst);
    if left < 0 {
        return None;
    }
    if left > 0 {
        LEFT.store(left - 1, Ordering::SeqCst);
        return None;
    }
    FAILED.store(true, Ordering::SeqCst);
    if !STAYS.load(Ordering::SeqCst) {
        LEFT.store(-1, Ordering::SeqCst);
    }
    Some(CODE.load(Ordering::SeqCst))
}

/// Whether any failed since [`fail`].
static FAILED: AtomicBool = AtomicBool::new(false);

/// Whether any failed since this was asked last.
pub(crate) fn failed() -> bool {
    FAILED.swap(false, Ordering::SeqCst)
}

/// The methods of an open file, with the original ones behind them.
#[repr(C)]
struct Methods {
    mine: ffi::sqlite3_io_methods,
    original: *const ffi::sqlite3_io_methods,
}

/// Those that were made, by the address of the original ones; they are kept for as long as the process is.
static MADE: OnceLock<Mutex<HashMap<usize, usize>>> = OnceLock::new();
/// Address of the file system this one stands before.
static BASE: OnceLock<usize> = OnceLock::new();

fn base() -> *mut ffi::sqlite3_vfs {
    *BASE.get().expect("it is registered") as *mut ffi::sqlite3_vfs
}

fn wrapped(original: *const ffi::sqlite3_io_methods) -> *const ffi::sqlite3_io_methods {
    let made = MADE.get_or_init(Mutex::default);
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let address = made.entry(original as usize).or_insert_with(|| {
        // SAFETY: SQLite's methods are a constant of its own, and plain data.
        let mut mine = unsafe { ptr::read(original) };
        mine.xWrite = Some(write);
        mine.xTruncate = Some(truncate);
        mine.xSync = Some(sync);
        let methods = Box::leak(Box::new(Methods { mine, original }));
        ptr::from_ref(methods) as usize
    });
    *address as *const ffi::sqlite3_io_methods
}

/// The methods a file had before.
///
/// # Safety
/// The file was opened by [`open`].
unsafe fn original(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: `open` made its methods the first field of a `Methods`, which is never freed; nor are SQLite's own.
    unsafe { &*(*(*file).pMethods.cast::<Methods>()).original }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    match due() {
        Some(code) => code,
        // SAFETY: SQLite's own call, passed on.
        None => unsafe { (original(file).xWrite.expect("it can write"))(file, bytes, length, at) },
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    match due() {
        Some(_) => ffi::SQLITE_IOERR_TRUNCATE,
        // SAFETY: SQLite's own call, passed on.
        None => unsafe { (original(file).xTruncate.expect("it can truncate"))(file, size) },
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    match due() {
        Some(_) => ffi::SQLITE_IOERR_FSYNC,
        // SAFETY: SQLite's own call, passed on.
        None => unsafe { (original(file).xSync.expect("it can sync"))(file, flags) },
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    if flags & ffi::SQLITE_OPEN_CREATE != 0 && due().is_some() {
        // SAFETY: SQLite gave room for the file; without methods it is not closed.
        unsafe { (*file).pMethods = ptr::null() };
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite's own call, passed on to the file system it would have had.
    unsafe {
        let opened = ((*base()).xOpen.expect("it can open"))(base(), name, file, flags, out);
        if !(*file).pMethods.is_null() {
            (*file).pMethods = wrapped((*file).pMethods);
        }
        opened
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    match due() {
        Some(_) => ffi::SQLITE_IOERR_DELETE,
        // SAFETY: SQLite's own call, passed on to the file system it would have had.
        None => unsafe { ((*base()).xDelete.expect("it can delete"))(base(), name, sync) },
    }
}

/// Makes it the file system of this process.
pub(crate) fn register() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        const NAME: &CStr = c"faulty";
        // SAFETY: SQLite hands out its default, which lives as long as the process; the copy does, too.
        unsafe {
            let default = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!default.is_null(), "SQLite has no file system");
            BASE.get_or_init(|| default as usize);
            let mut mine = ptr::read(default);
            mine.zName = NAME.as_ptr();
            mine.pNext = ptr::null_mut();
            mine.xOpen = Some(open);
            mine.xDelete = Some(delete);
            let mine = Box::leak(Box::new(mine));
            assert_eq!(ffi::sqlite3_vfs_register(mine, 1), ffi::SQLITE_OK);
        }
    });
}
