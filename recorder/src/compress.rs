//! Compressor threads: batches become blocks.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use kcap_format::proto::Event;
use kcap_format::{BlockEncoder, DictionaryPool, PacketBatch, split_events};

use crate::account::{Source, Tally};
use crate::clock;
use crate::governor::Governor;
use crate::pipeline::{Done, Job, TalliedBlock, ToSink, Work};

/// Compresses jobs until their senders are gone. Jobs end in any order; the sink puts them back into theirs.
pub(crate) fn run(
    jobs: &Receiver<Job>,
    sink: &Sender<ToSink>,
    governor: &Governor,
    dictionaries: Arc<DictionaryPool>,
) {
    let mut encoder = BlockEncoder::with_dictionaries(dictionaries);
    for job in jobs {
        let choice = governor.choose();
        let begun = clock::thread_time();
        let blocks = match &job.work {
            Work::Packets(batch) => {
                vec![TalliedBlock {
                    block: encoder.packets(batch, choice.effort),
                    tally: tally_packets(batch),
                }]
            }
            Work::Events { events, .. } => split_events(events)
                .map(|part| TalliedBlock {
                    block: encoder.events(part, choice.effort),
                    tally: tally_events(part),
                })
                .collect(),
        };
        if let (Work::Packets(batch), [tallied]) = (&job.work, blocks.as_slice()) {
            let processor_time = clock::thread_time().saturating_sub(begun);
            governor.encoded(
                choice,
                batch.raw_len(),
                tallied.block.payload.len(),
                processor_time,
                Instant::now(),
            );
        }
        if sink.send(ToSink::Done(Done { job, blocks })).is_err() {
            break;
        }
    }
}

fn tally_packets(batch: &PacketBatch) -> Tally {
    let mut tally = Tally::default();
    let mut run: Option<(Source, u64)> = None;
    for (&program, &cpu) in batch.program.iter().zip(&batch.cpu) {
        let source = Source { program, cpu };
        run = match run {
            Some((same, count)) if same == source => Some((same, count + 1)),
            before => {
                before.into_iter().for_each(|(other, count)| tally.add(other, count));
                Some((source, 1))
            }
        };
    }
    run.into_iter().for_each(|(source, count)| tally.add(source, count));
    tally
}

fn tally_events(events: &[Event]) -> Tally {
    let mut tally = Tally::default();
    for event in events {
        // Numbers of programs and processors were narrower in the ring record that they come from.
        tally.add(Source { program: event.program as u8, cpu: event.cpu as u16 }, 1);
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::jobs;
    use crossbeam_channel::unbounded;
    use kcap_format::{Effort, PacketRow};

    #[test]
    fn a_batch_becomes_a_block_that_knows_its_sources() {
        let mut batch = PacketBatch::default();
        for (program, cpu) in [(1, 0), (1, 0), (2, 0), (1, 0), (2, 1)] {
            batch.push(&PacketRow { time_ns: 5, program, cpu, ..PacketRow::default() }, b"header", b"");
        }
        let event = Event { program: 16, cpu: 1, ..Event::default() };
        let (sender, receiver) = jobs();
        sender.send(Work::Packets(Box::new(batch)));
        sender.send(Work::Events { events: vec![event; 3], through_ns: 9 });
        drop(sender);
        let (results, done) = unbounded();
        run(&receiver, &results, &Governor::new(Effort::Stored), Arc::default());
        let mut tallies = Vec::new();
        for (index, message) in done.try_iter().enumerate() {
            let ToSink::Done(done) = message else { panic!("not a block") };
            assert_eq!(done.job.sequence, index as u64);
            tallies.push(done.blocks.into_iter().next().unwrap());
        }
        let mut expected = Tally::default();
        for (program, cpu, count) in [(1, 0, 3), (2, 0, 1), (2, 1, 1)] {
            expected.add(Source { program, cpu }, count);
        }
        assert!(tallies[0].tally.same_as(&expected), "{:?}", tallies[0].tally);
        assert_eq!((tallies[0].block.record_count, tallies[1].block.record_count), (5, 3));
        assert_eq!(tallies[1].tally.total(), 3);
    }
}
