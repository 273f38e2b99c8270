// @ts-check
// The JSON that the server sends to the inspector, as types; there is no code here. The server's side of a picture is
// camera.py, of an event notes.py, of a journey journey.py.

/**
 * A line of a thread's stack. The innermost frame comes last.
 * @typedef {[file: string, line: number, name: string]} Frame
 */

/**
 * @typedef {object} Thread
 * @property {string} name "hub" ("hub-NAME" in a room of that name), "logWriter", "logReader", "readPump-7" or "writePump-7"
 * @property {string} state a key of STATES in words.js
 * @property {string} on the channel, or the hub, that it waits for, or ""
 * @property {number} for seconds in this state
 * @property {string} file where it is, or ""
 * @property {number} line
 * @property {string} function
 * @property {Frame[]} stack
 */

/**
 * @typedef {object} Channel
 * @property {string} name "register", "unregister", "broadcast", "said" or "send-7"
 * @property {number} pending messages in its buffer
 * @property {number} capacity messages; 0: unbuffered
 * @property {number} senders threads that wait to send
 * @property {number} receivers threads that wait to receive
 * @property {boolean} closed
 */

/**
 * What the kernel holds for one direction of a connection.
 * @typedef {object} Held
 * @property {number} bytes
 * @property {number} used of its buffer; the kernel's own bookkeeping counts too
 * @property {number} room the size of its buffer
 */

/**
 * @typedef {object} Client
 * @property {number} number
 * @property {string} name
 * @property {Thread} read_pump
 * @property {Thread} write_pump
 * @property {Channel} send
 * @property {boolean} away whether nobody takes messages from `send`, because the peer does not read
 * @property {number} waits for how many seconds a frame has been waiting for the peer; 0: none is
 * @property {Held | null} kernel what the kernel holds that the peer has not taken; null: the system does not tell
 * @property {Held | null} unread what has arrived at the peer's end and was not read; null: unknown
 * @property {boolean} evicted
 * @property {number} messages_in
 * @property {number} messages_out
 * @property {number} frames_out
 * @property {boolean} pinned whether a viewer wants it drawn in any case
 */

/**
 * @typedef {object} Hub
 * @property {Thread} thread
 * @property {boolean} paused
 * @property {number} clients
 * @property {number} messages
 * @property {number} batches
 * @property {number} evicted
 */

/**
 * The log writer, which all rooms share. Counts are since the start.
 * @typedef {object} LogWriter
 * @property {Thread} thread
 * @property {Channel} said what waits for it
 * @property {boolean} down whether the store is
 * @property {number} in_hand entries that it has taken, and that the rooms' logs do not have yet
 * @property {number} behind entries that the log of this room has, and that its hub has not passed on
 * @property {number} groups that it has written
 * @property {number} entries in them
 * @property {number} failures of the store
 */

/**
 * The log reader of a server whose store other processes use as well.
 * @typedef {object} LogReader
 * @property {Thread} thread
 * @property {boolean} down whether the store cannot be read
 * @property {number} behind entries of this room that were written here and have not come back
 * @property {number} entries that it has brought since the start
 */

/**
 * @typedef {object} RunQueue
 * @property {number} turns how many threads may run at once
 * @property {number} free
 * @property {number} waiting threads that are ready and wait for a turn
 */

/**
 * The clients that are not drawn one by one. `fill`, `reading` and `writing` count all clients.
 * @typedef {object} Crowd
 * @property {number} count clients that are not in the picture's `clients`
 * @property {number[]} fill how many send channels are how full: 16 bins, the emptiest first
 * @property {Record<string, number>} reading state -> how many read pumps are in it
 * @property {Record<string, number>} writing state -> how many write pumps are in it
 */

/**
 * Figures of the last second.
 * @typedef {object} Rates
 * @property {number} messages
 * @property {number} deliveries
 * @property {number} frames
 * @property {number} messages_a_frame
 * @property {number} groups that the log writer has written
 * @property {number} entries_a_group
 * @property {number} append seconds that the store took for a group
 */

/**
 * Something that happened.
 * @typedef {object} Happening
 * @property {number} t seconds since the server started
 * @property {"message" | "joined" | "left" | "evicted" | "hub" | "store"} kind
 * @property {number} client the client's number
 * @property {number} [id] of a message
 * @property {string} [text] of a message, or what became of a learner's hub or of the store (which have no client)
 * @property {string} [name] the client's name
 * @property {string} [reason] what it was told when it left or was evicted
 * @property {"stopped" | "slow" | "silent" | "ended" | "hasty"} [cause] of an eviction; see evictions.js
 * @property {number | null} [waited] for how many seconds a frame had waited for it then; null: none did
 * @property {number | null} [quiet] for how many seconds it had taken nothing; null: unknown
 * @property {number} [waiting] messages in its send channel
 * @property {number} [capacity] of the channel
 */

/**
 * An entry of a room's log.
 * @typedef {object} LogEntry
 * @property {number} id
 * @property {string} kind "msg", "join", "leave" or "name"; of an organiser's order, which one
 * @property {string} by the public tag of the session that it comes from
 * @property {string | null} name of the person, at that time
 * @property {number | null} n the number that the session gave it
 * @property {string} text
 */

/**
 * What a room's log keeps (room_log.py).
 * @typedef {object} RoomLog
 * @property {string} epoch
 * @property {number} first the id of the oldest entry that is kept; one more than `top` if none is
 * @property {number} top the id of the newest one
 * @property {number} bytes of all texts
 * @property {number} keep entries that are kept at most, for those who come back
 * @property {boolean} recoverable whether anything is kept for them
 * @property {number} history messages that newcomers see at most
 * @property {number} newcomer the id after which a newcomer's history begins
 * @property {LogEntry[]} newest the newest entries, oldest first
 */

/**
 * The rooms that are there.
 * @typedef {object} RoomsTold
 * @property {number} count
 * @property {{ name: string, clients: number }[]} fullest the lobby, and those with the most clients
 */

/**
 * What comes in place of a picture while the room is not there.
 * @typedef {object} Gone
 * @property {number} t seconds since the server started
 * @property {string} room
 * @property {true} gone
 * @property {RoomsTold} [rooms]
 */

/**
 * A room at one moment.
 * @typedef {object} Picture
 * @property {number} t seconds since the server started
 * @property {string} room its name
 * @property {number} cost_ms processor time that taking the picture before took
 * @property {boolean} demo whether the viewer may add clients and disturb the server
 * @property {number} [pace] messages a second that the demo's clients in the room say in all
 * @property {Hub} hub
 * @property {Record<string, Channel>} channels the channels into the hub, by name
 * @property {RoomLog} log
 * @property {LogWriter | null} [log_writer] null where the rooms are in memory
 * @property {LogReader | null} [log_reader] null where no other process uses the store
 * @property {RunQueue} run_queue
 * @property {Client[]} clients those that are drawn one by one
 * @property {Crowd} crowd
 * @property {Rates} rates
 * @property {OwnHub} [own] if the hub is a learner's
 * @property {Happening[]} events what has happened since the picture before
 * @property {RoomsTold} [rooms] if they have changed
 */

/**
 * What is known of a learner's hub besides what is known of any hub (own_hub.py).
 * @typedef {object} OwnHub
 * @property {string} file what its version of the file is called
 * @property {number} version how often a new hub was made
 * @property {number} for seconds since then
 * @property {string} problem why what was saved last is not what runs; "" if it is
 * @property {Fault[]} faults
 * @property {{ name: string, pending: number, capacity: number, closed: boolean }[]} channels those that are not drawn
 * @property {OwnThread[]} threads those that execute the file besides the hub's own
 */

/**
 * @typedef {object} Fault
 * @property {"asleep" | "busy" | "raised" | "returned" | "dropped" | "unclosed" | "stop"} kind
 * @property {string} title
 * @property {string[]} sentences with `code` in them
 * @property {string} mistake its name among the exercises' known mistakes, or ""
 * @property {string} about what that mistake is about, or ""
 * @property {number} line 0: none
 * @property {number} first_line of the lines around that line
 * @property {string[]} lines
 */

/**
 * @typedef {object} OwnThread
 * @property {string} name
 * @property {boolean} abandoned whether it belongs to a hub from before that did not end
 * @property {string} file
 * @property {number} line
 * @property {string} code
 */

/**
 * A client that was evicted, as history.js remembers it.
 * @typedef {object} Eviction
 * @property {number} t
 * @property {number} number the client's
 * @property {string} name
 * @property {Happening} event
 * @property {Client} [before] the client as it was drawn last
 */

/**
 * @typedef {object} Step
 * @property {string} step a key of STEPS in journey.js
 * @property {number} t seconds since the server started
 * @property {string} thread
 * @property {string} file
 * @property {number} line
 */

/**
 * What became of a message at one client. Times are seconds since the server started; null: not yet.
 * @typedef {object} Delivery
 * @property {number} client
 * @property {string} name
 * @property {number | null} buffered when the hub put it into the send channel
 * @property {number | null} coalesced when the write pump put it into a frame
 * @property {number | null} with how many messages the frame holds
 * @property {number | null} written when the kernel had the frame
 * @property {boolean} evicted
 */

/**
 * A message's way through the server.
 * @typedef {object} Journey
 * @property {number} id
 * @property {string} text
 * @property {number} client the sender's number
 * @property {number} [group] entries that the log writer took at once, the message included; 0: there is none
 * @property {Step[]} steps
 * @property {Delivery[]} deliveries
 */

/**
 * A function's source.
 * @typedef {object} Source
 * @property {string} file
 * @property {number} first_line
 * @property {string[]} lines
 * @property {string} go the same in Go, or ""
 * @property {string} go_from the file that the Go comes from
 * @property {string} [problem] why there is no source
 */

/**
 * A line of the source, in the function of this name.
 * @typedef {{ file: string, line: number, name: string }} Place
 */

/**
 * @typedef {object} Chart
 * @property {string} label
 * @property {string} unit
 * @property {[t: number, value: number][]} points
 */

/**
 * A function's source, as a lesson shows it.
 * @typedef {object} LessonSource
 * @property {string} file
 * @property {number} first_line
 * @property {string[]} lines
 * @property {number[]} changed the numbers of the lines that differ from the other side's
 * @property {number[]} folded the numbers of those that need not be seen
 */

/**
 * One side of a lesson: the broken variant, or the real part.
 * @typedef {object} Side
 * @property {string} title
 * @property {LessonSource} source
 * @property {[what: string, value: string][]} seen
 * @property {Chart | null} chart
 */

/**
 * @typedef {object} Lesson
 * @property {string} name
 * @property {string} title
 * @property {string} chapter the id of the guide's chapter about it
 * @property {string} exercise the name of the exercise to it; "" if there is none
 * @property {string} question
 * @property {string[]} choices
 */

/**
 * A lesson that has run.
 * @typedef {Lesson & { answer: number, reasons: string[], broken: Side, real: Side, why: string }} LessonSeen
 */

export {};
