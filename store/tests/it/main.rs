//! The store on both databases.

mod crash;
mod erasing;
mod fence;
mod media;
mod opening;
mod placing;
mod quarantine;
mod queues;
mod records;
mod reports;
mod schemas;
mod writing;

/// Runs async tests of the shape `async fn name(database: Database)` on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(tests::database::Database::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(tests::database::Database::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;
