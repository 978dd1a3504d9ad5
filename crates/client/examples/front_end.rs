//! A front-end in short: it admits a user a second, each for five seconds, until Ctrl-C.
//!
//! `cargo run -p client --example front_end -- 127.0.0.1:4501 ent normandie`

use std::time::Duration;

use client::Holder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let node = args.next().unwrap_or("127.0.0.1:4501".into());
    let holder = Holder::connect([node])
        .pool(args.next().unwrap_or("ent".into()))
        .region(args.next().unwrap_or("normandie".into()))
        .await?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = second.tick() => match holder.try_seat() {
                Some(seat) => {
                    println!("come in; {:?}", holder.status());
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        drop(seat);
                    });
                }
                None => println!("please wait your turn; {:?}", holder.status()),
            },
            sessions = holder.overdue() => println!("{sessions} sessions must end now"),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    holder.close().await;
    Ok(())
}
