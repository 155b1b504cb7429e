// SPDX-License-Identifier: MIT
//
// rust.rs - Arc of Rust's standard library; see peer.h for the functions
//
// Needs nothing newer than Rust 1.59.

use std::arch::asm;
use std::os::raw::{c_uint, c_ulong, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

/// 64 bytes together with the two counts.
struct Object {
    _payload: [u64; 6],
}

struct Node {
    next: Option<Arc<Node>>,
    _payload: u64,
}

struct Branch {
    left: Option<Arc<Branch>>,
    right: Option<Arc<Branch>>,
}

/// The compiler must believe that somebody looks at the object here.
#[inline(always)]
fn seen<T>(arc: &Arc<T>) {
    unsafe { asm!("/* {0} */", in(reg) Arc::as_ptr(arc), options(nostack, preserves_flags)) }
}

fn order_of<'a>(n: c_ulong, order: *const c_uint) -> &'a [c_uint] {
    unsafe { std::slice::from_raw_parts(order, n as usize) }
}

#[no_mangle]
pub extern "C" fn get_put_begin(_n: c_ulong, _order: *const c_uint) -> *mut c_void {
    Box::into_raw(Box::new(Arc::new(Object { _payload: [0; 6] }))) as *mut c_void
}

#[no_mangle]
pub unsafe extern "C" fn get_put_run(state: *mut c_void, n: c_ulong) {
    let arc = &*(state as *const Arc<Object>);
    for _ in 0..n {
        let another = Arc::clone(arc);
        seen(&another);
        drop(another);
    }
}

#[no_mangle]
pub unsafe extern "C" fn get_put_end(state: *mut c_void) {
    drop(Box::from_raw(state as *mut Arc<Object>));
}

#[no_mangle]
pub extern "C" fn create_run(_state: *mut c_void, n: c_ulong) {
    for _ in 0..n {
        let arc = Arc::new(Object { _payload: [0; 6] });
        seen(&arc);
        drop(arc);
    }
}

#[no_mangle]
pub extern "C" fn list_begin(n: c_ulong, order: *const c_uint) -> *mut c_void {
    let mut places: Vec<Option<Arc<Node>>> = vec![None; n as usize];
    for &place in order_of(n, order) {
        places[place as usize] = Some(Arc::new(Node { next: None, _payload: place as u64 }));
    }
    let mut head: Option<Arc<Node>> = None;
    while let Some(node) = places.pop() {
        let mut node = node.unwrap();
        Arc::get_mut(&mut node).unwrap().next = head;
        head = Some(node);
    }
    match head {
        Some(arc) => Arc::into_raw(arc) as *mut c_void,
        None => null_mut(),
    }
}

/// The loop that Rust's users write by hand, because dropping the head alone recurses.
#[no_mangle]
pub unsafe extern "C" fn list_run(state: *mut c_void, _n: c_ulong) {
    let mut next = Some(Arc::from_raw(state as *const Node));
    while let Some(arc) = next {
        match Arc::try_unwrap(arc) {
            Ok(node) => next = node.next,
            Err(_) => break,
        }
    }
}

#[no_mangle]
pub extern "C" fn tree_begin(n: c_ulong, order: *const c_uint) -> *mut c_void {
    let n = n as usize;
    let mut places: Vec<Option<Arc<Branch>>> = vec![None; n];
    for &place in order_of(n as c_ulong, order) {
        places[place as usize] = Some(Arc::new(Branch { left: None, right: None }));
    }
    for i in (0..n).rev() {
        let left = if 2 * i + 1 < n { places[2 * i + 1].take() } else { None };
        let right = if 2 * i + 2 < n { places[2 * i + 2].take() } else { None };
        let branch = Arc::get_mut(places[i].as_mut().unwrap()).unwrap();
        branch.left = left;
        branch.right = right;
    }
    Arc::into_raw(places[0].take().unwrap()) as *mut c_void
}

#[no_mangle]
pub unsafe extern "C" fn tree_run(state: *mut c_void, _n: c_ulong) {
    drop(Arc::from_raw(state as *const Branch));
}
