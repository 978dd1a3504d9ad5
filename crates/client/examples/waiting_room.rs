//! A waiting room in short: a user of some class arrives every 100 ms, waits their turn, and stays for ten
//! seconds, until Ctrl-C.
//!
//! `cargo run -p client --example waiting_room -- 127.0.0.1:4501 ent normandie [KEYS]`

use std::sync::Arc;
use std::time::Duration;

use client::{FrontEnd, Holder, Turn};
use tokio::time::{interval, sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let node = args.next().unwrap_or("127.0.0.1:4501".into());
    let mut builder = Holder::connect([node])
        .pool(args.next().unwrap_or("ent".into()))
        .region(args.next().unwrap_or("normandie".into()));
    if let Some(keys) = args.next() {
        builder = builder.keys(keys);
    }
    let door = Arc::new(builder.front_end().await?);
    let (classes, mut arrivals) = (door.classes(), interval(Duration::from_millis(100)));
    for class in classes.iter().cycle() {
        tokio::select! {
            _ = arrivals.tick() => match door.arrive(class) {
                Ok(turn) => {
                    tokio::spawn(visit(Arc::clone(&door), class.clone(), turn));
                }
                Err(why) => println!("{class}: {why} {}", door.status().reason),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    println!("{:#?}", door.status());
    Ok(())
}

async fn visit(door: Arc<FrontEnd>, class: String, mut turn: Turn) {
    while let Turn::Waiting { ticket, place } = &turn {
        println!("{class}: {} ahead, about {:?}", place.ahead, place.wait);
        sleep(Duration::from_secs(1)).await;
        match door.poll(ticket) {
            Ok(next) => turn = next,
            Err(refused) => return println!("{class}: {refused}"),
        }
    }
    if let Turn::Seated { seat, session } = turn {
        println!("{class}: come in; {session:?}");
        sleep(Duration::from_secs(10)).await;
        if let Err(over) = door.leave(&seat) {
            println!("{class}: {over}");
        }
    }
}
