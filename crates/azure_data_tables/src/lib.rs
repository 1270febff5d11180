//! A small Azure Table Storage client.
