//! Several methods side by side on one video: who enlarges, what is measured, what is kept.
