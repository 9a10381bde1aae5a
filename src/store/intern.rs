//! One allocation for each distinct shape.
//!
//! Only pushes that change a group's shape come here, and each takes one of the short locks for the
//! length of a look-up. The table holds shapes weakly: a shape lives as long as some group has it.

use std::sync::{Arc, Mutex, Weak};

use super::hash::Map;
use super::shape::Shape;

const STRIPES: usize = 16;

/// Entries a stripe may gain before it is cleared of shapes that died.
const SWEEP_MIN: usize = 64;

#[derive(Default)]
struct Stripe {
    shapes: Map<u64, Vec<Weak<Shape>>>,
    entries: usize,
    /// Sweep when `entries` reaches this.
    sweep_at: usize,
}

#[derive(Default)]
pub struct Shapes {
    stripes: [Mutex<Stripe>; STRIPES],
}

impl Shapes {
    /// The shape equal to `shape` that is in use already, or `shape` itself from now on.
    pub fn intern(&self, shape: Shape) -> Arc<Shape> {
        let stripe = &self.stripes[shape.hash as usize % STRIPES];
        let mut stripe = stripe.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let equals = stripe.shapes.entry(shape.hash).or_default();
        if let Some(known) = equals.iter().filter_map(Weak::upgrade).find(|known| **known == shape) {
            return known;
        }
        let shape = Arc::new(shape);
        equals.push(Arc::downgrade(&shape));
        stripe.entries += 1;
        if stripe.entries >= stripe.sweep_at.max(SWEEP_MIN) {
            stripe.sweep();
        }
        shape
    }
}

impl Stripe {
    /// Drops dead entries. Sweeping again only after the table doubled makes it cheap per entry.
    fn sweep(&mut self) {
        self.shapes.retain(|_, equals| {
            equals.retain(|shape| shape.strong_count() > 0);
            !equals.is_empty()
        });
        self.entries = self.shapes.values().map(Vec::len).sum();
        self.sweep_at = self.entries * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Families, GroupingKey};
    use crate::store::build;

    fn shape(job_names: &[&'static str]) -> Shape {
        let key = GroupingKey::new("j", job_names.iter().map(|name| (*name, "v")));
        build::shape_of(&Families::default(), &key, &crate::model::PushLimits::default()).unwrap().shape
    }

    #[test]
    fn equal_shapes_are_one_and_dead_ones_go() {
        let shapes = Shapes::default();
        let one = shapes.intern(shape(&["a"]));
        assert!(Arc::ptr_eq(&one, &shapes.intern(shape(&["a"]))));
        assert!(!Arc::ptr_eq(&one, &shapes.intern(shape(&["b"]))));
        for i in 0..10_000 {
            let name: &'static str = Box::leak(format!("n{i}").into_boxed_str());
            shapes.intern(shape(&[name]));
        }
        let kept: usize = shapes.stripes.iter().map(|stripe| stripe.lock().unwrap().entries).sum();
        assert!(kept <= STRIPES * (SWEEP_MIN + 1), "{kept} entries kept for one living shape");
        assert!(Arc::ptr_eq(&one, &shapes.intern(shape(&["a"]))));
    }
}
