//! Pages of lists: how long they may be, and what comes after.

use crate::error::{ApiError, Result};

/// The most that one page of anything but log lines holds.
pub(crate) const MAX_PAGE: u32 = 500;

/// The length of a page: what was asked for, or `default`.
///
/// # Errors
/// Where it is not 1 to `max`.
pub(crate) fn limit(asked: Option<u32>, default: u32, max: u32) -> Result<u32> {
    match asked.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(ApiError::BadRequest(format!("'limit' must be 1 to {max}"))),
    }
}

/// The first `limit` of `items`, and the key of the last of them where more follow.
pub(crate) fn cut<T, K>(
    items: impl IntoIterator<Item = T>,
    limit: u32,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<K>) {
    let mut items = items.into_iter();
    let page: Vec<T> = items.by_ref().take(limit as usize).collect();
    let next = items.next().and_then(|_| page.last()).map(key);
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(cut([1, 2, 3], 2, |n| *n), (vec![1, 2], Some(2)));
        assert_eq!(cut([1, 2], 2, |n| *n), (vec![1, 2], None));
        assert_eq!(cut([0; 0], 2, |n| *n), (vec![], None));
    }
}
