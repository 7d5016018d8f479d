//! Checks of what users ask for, before it becomes an action.
