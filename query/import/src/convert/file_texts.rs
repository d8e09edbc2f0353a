//! What the FILE blocks of segments say of the source, cut to what they have room for.

use kcap_format::limits::FILE_MESSAGE_LEN_MAX;
use kcap_format::proto;

/// Bytes that are left for what each segment says beside: its number, and the digest of the one before.
const ROOM_LEN: usize = 64;
/// Most bytes of each text, and of the whole command line, where all of them together have no room. A dozen of this length have.
const TEXT_LEN_MAX: usize = 8 << 10;

/// Cuts the texts of a FILE that is too long: whoever wrote a capture file can say as much of itself, and the names of all
/// sources are among what the recorder was asked for. What is cut ends in an ellipsis.
pub(super) fn fit(file: &mut proto::FileInfo) {
    if file.message_len() + ROOM_LEN <= FILE_MESSAGE_LEN_MAX {
        return;
    }
    if let Some(host) = &mut file.host {
        [&mut host.hostname, &mut host.os, &mut host.architecture].into_iter().for_each(cut);
        [&mut host.kernel_release, &mut host.kernel_version].into_iter().for_each(cut);
    }
    if let Some(recorder) = &mut file.recorder {
        [&mut recorder.name, &mut recorder.version].into_iter().for_each(cut);
        recorder.options.values_mut().for_each(cut);
        cut_command_line(&mut recorder.command_line);
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_LEN_MAX {
        text.truncate(text.floor_char_boundary(TEXT_LEN_MAX));
        text.push('…');
    }
}

/// Keeps the first arguments, and says how many there were more.
fn cut_command_line(arguments: &mut Vec<String>) {
    let mut len = 0;
    let fitting = arguments.iter().take_while(|argument| {
        len += argument.len();
        len <= TEXT_LEN_MAX
    });
    let kept = fitting.count();
    let more = arguments.len() - kept;
    if more > 0 {
        arguments.truncate(kept);
        arguments.push(format!("… and {more} more"));
    }
}
