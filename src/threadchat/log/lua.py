"""What Redis does in one step: the scripts of `log.redis`, in Lua.

A script is executed as a whole: no other command comes in between. The keys of one room have one hash tag. APPEND has
one key more, the news of all rooms.

    | key        | type   | what it has                                                                            |
    | ---------- | ------ | -------------------------------------------------------------------------------------- |
    | meta       | hash   | epoch; top: the newest id; before, check: where the log was cut by CLEAR or by its age |
    | log        | stream | the entries, by ids of our own (ID-0): k kind, a when (ms), e the rest as JSON, p who  |
    | numbers    | hash   | by session, the last number that was taken                                             |
    | spoke      | zset   | the same sessions, by when that was (ms)                                               |
    | here       | hash   | by session, the id of its join and its name, of those who are in the room              |
    | seats      | hash   | by session, the processes to which it is connected, each with a space behind it        |
    | orders     | hash   | by kind and target, the orders in force: id, when, the rest as JSON                    |
    | batches    | hash   | by process, the answer to its last batch                                               |
    | organisers | hash   | as seats, for the sessions of organisers                                               |
"""

KEYS = ("meta", "log", "numbers", "spoke", "here", "seats", "orders", "batches", "organisers")

# What begins each script: the keys by name, Redis' own clock, and how sessions are forgotten.
_COMMON = """
local meta, log, numbers, spoke, here, seats, orders, batches, organisers, news = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function forget(before)  -- the numbers of sessions that have not spoken since then
    local old = redis.call('ZRANGEBYSCORE', spoke, '-inf', '(' .. before)
    for _, by in ipairs(old) do
        redis.call('HDEL', numbers, by)
    end
    redis.call('ZREMRANGEBYSCORE', spoke, '-inf', '(' .. before)
end
"""

# ARGV: an epoch for a new room, for how long the last batch of a process is remembered (ms). Answers all that there is
# of the room.
OPEN = (
    _COMMON
    + """
if redis.call('HEXISTS', meta, 'epoch') == 0 or redis.call('HEXISTS', meta, 'top') == 0 then
    redis.call('DEL', unpack(KEYS))  -- what is left of a room of which a part was deleted is worth nothing
    redis.call('HSET', meta, 'epoch', ARGV[1], 'top', 0, 'before', 0, 'check', 0)
end
local known = redis.call('HGETALL', batches)
for i = 1, #known, 2 do
    if tonumber(known[i + 1]:match('^%S+ (%S+)')) < now - tonumber(ARGV[2]) then
        redis.call('HDEL', batches, known[i])
    end
end
return {
    redis.call('HMGET', meta, 'epoch', 'top', 'before', 'check'), redis.call('XRANGE', log, '-', '+'),
    redis.call('HGETALL', numbers), redis.call('ZRANGE', spoke, 0, -1, 'WITHSCORES'),
    redis.call('HGETALL', here), redis.call('HGETALL', orders),
}
"""
)

# ARGV: process, number of the batch ('' for none), epoch, the newest id that the process has seen, the id up to which
# it keeps nothing, for how long a session's number is remembered (ms), the room as the news call it, how many news are
# kept; then of each entry its kind, its session, a mark and the rest as JSON. The kind `organiser` is the join of one.
# The mark of a message is its number or ''; of a join the name; of an order what it comes to: lines of '+' (in force)
# or '-' (no more) and a field of `orders`, or 'clear'. An order that is aimed at an organiser is not taken.
#
# Answers nothing if the log is not the one that the process knows. Otherwise: the batch, when, and for each entry its
# id, or 0 if it was not taken.
#
# What was taken is told to all processes, as an item of NEWS: r the room. If it is messages alone, as most often, then
# also s: epoch, first id, last id, when, process, batch; and, unless that is too much, e: a list in JSON of the rests.
# So a process that has all that comes before need not ask the log. (One that does not have the room drops the item.)
APPEND = (
    _COMMON
    + """
local process, batch, before = ARGV[1], ARGV[2], tonumber(ARGV[5])
local most_told = 32768  -- bytes of an item of the news, whose key is APPEND's alone
local known = redis.call('HMGET', meta, 'epoch', 'top')
if known[1] ~= ARGV[3] or tonumber(known[2]) < tonumber(ARGV[4]) then
    return false
end
if batch ~= '' then
    local last = redis.call('HGET', batches, process)
    if last and tonumber(last:match('^%S+')) >= tonumber(batch) then
        return last  -- the answer was lost; or this was slow, and is of no interest any more
    end
end

local top = tonumber(known[2])
local id, said, answer = top, {}, {batch, string.format('%.0f', now)}
local texts, size = {}, 0

local function add(kind, rest, ...)
    redis.call('XADD', log, string.format('%.0f-0', id), 'k', kind, 'a', answer[2], 'e', rest, ...)
end

local function connect(key, by)
    local connected = redis.call('HGET', key, by) or ''
    if not connected:find(process .. ' ', 1, true) then
        redis.call('HSET', key, by, connected .. process .. ' ')
    end
end

local function disconnect(key, by)  -- whether the session is still connected somewhere else
    local connected = redis.call('HGET', key, by) or ''
    local from, to = connected:find(process .. ' ', 1, true)
    if from then
        connected = connected:sub(1, from - 1) .. connected:sub(to + 1)
    end
    if connected == '' then
        redis.call('HDEL', key, by)
        return false
    end
    redis.call('HSET', key, by, connected)
    return true
end

local take = {}

function take.msg(by, number, rest)
    if number ~= '' then
        local last = said[by] or redis.call('HGET', numbers, by)
        if last and tonumber(number) <= tonumber(last) then
            return false
        end
        said[by] = number
    end
    id = id + 1
    add('msg', rest)
    texts[#texts + 1] = rest
    size = size + #rest
    return true
end

function take.join(by, name, rest)
    connect(seats, by)
    local known = redis.call('HGET', here, by)
    if known and known:match('^%d+ (.*)$') == name then
        return false
    end
    id = id + 1
    redis.call('HSET', here, by, string.format('%.0f ', id) .. name)
    add(known and 'name' or 'join', rest, 'p', process)
    return true
end

function take.organiser(by, name, rest)
    connect(organisers, by)
    return take.join(by, name, rest)
end

function take.leave(by, _, rest)
    disconnect(organisers, by)
    if disconnect(seats, by) then
        return false
    end
    if redis.call('HDEL', here, by) == 0 then
        return false
    end
    id = id + 1
    add('leave', rest)
    return true
end

function take.order(by, mark, rest)
    local target = mark:match('^[+-]%S+ ([^\\n]+)')
    if target and redis.call('HEXISTS', organisers, target) == 1 then
        return false
    end
    id = id + 1
    add('order', rest)
    for sign, field in mark:gmatch('([+-])([^\\n]+)') do
        if sign == '+' then
            redis.call('HSET', orders, field, string.format('%.0f ', id) .. answer[2] .. ' ' .. rest)
        else
            redis.call('HDEL', orders, field)
        end
    end
    if mark == 'clear' then
        redis.call('HSET', meta, 'before', string.format('%.0f', id - 1), 'check', '')
    end
    return true
end

for index = 9, #ARGV, 4 do
    local taken = take[ARGV[index]](ARGV[index + 1], ARGV[index + 2], ARGV[index + 3])
    answer[#answer + 1] = taken and string.format('%.0f', id) or '0'
end
for by, number in pairs(said) do
    redis.call('HSET', numbers, by, number)
    redis.call('ZADD', spoke, now, by)
end
redis.call('HSET', meta, 'top', string.format('%.0f', id))
-- The entry before those that are kept stays, for its check value.
if before > 0 and redis.call('XTRIM', log, 'MINID', '~', ARGV[5] .. '-0') > 0 then
    local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    forget(math.min(now - ARGV[6], first and tonumber(first[2][4]) or now))
end
if id > top then
    local told = {'r', ARGV[7]}
    if #texts == id - top then
        told[3], told[4] = 's', string.format('%s %.0f %.0f %s %s %s', ARGV[3], top + 1, id, answer[2], process, batch)
        if size <= most_told then
            told[5], told[6] = 'e', '[' .. table.concat(texts, ',') .. ']'
        end
    end
    redis.call('XADD', news, 'MAXLEN', '~', ARGV[8], '*', unpack(told))
end
answer = table.concat(answer, ' ')
if batch ~= '' then
    redis.call('HSET', batches, process, answer)
end
return answer
"""
)

# ARGV: an epoch, and the one that follows it. Of several processes that find that the ids cannot be trusted, one wins.
RENEW = (
    _COMMON
    + """
if redis.call('HGET', meta, 'epoch') == ARGV[1] then
    redis.call('HSET', meta, 'epoch', ARGV[2])
end
"""
)

# ARGV: the id up to which everything is too old, the check value of that entry, for how long a session's number is
# remembered (ms), the sorted set of all rooms, by when a process had them last, this room's name there, and the time
# since when a room counts as one that a process has. If none has it, and nothing is left of it or nothing was ever said
# or ordered, and nobody is there, it is dropped.
EXPIRE = (
    _COMMON
    + """
if tonumber(redis.call('HGET', meta, 'before') or ARGV[1]) < tonumber(ARGV[1]) then
    redis.call('XTRIM', log, 'MINID', string.format('%.0f-0', ARGV[1] + 1))
    redis.call('HSET', meta, 'before', ARGV[1], 'check', ARGV[2])
    forget(now - ARGV[3])
end

local function silent()
    if redis.call('EXISTS', numbers) == 1 or tonumber(redis.call('HGET', meta, 'top')) ~= redis.call('XLEN', log) then
        return false
    end
    local first = '-'
    while first do
        local page = redis.call('XRANGE', log, first, '+', 'COUNT', 100)
        first = nil
        for _, entry in ipairs(page) do
            if entry[2][2] == 'msg' or entry[2][2] == 'order' then
                return false
            end
            first = '(' .. entry[1]
        end
    end
    return true
end

local used = redis.call('ZSCORE', ARGV[4], ARGV[5])
if used and tonumber(used) >= tonumber(ARGV[6]) then
    return
end
if redis.call('EXISTS', here, orders) == 0 and (redis.call('XLEN', log) == 0 or silent()) then
    redis.call('DEL', unpack(KEYS))
    redis.call('ZREM', ARGV[4], ARGV[5])
end
"""
)

# KEYS: the processes, by when their lease ends (ms); the news. ARGV: a process, for how long it has a lease from now on
# (ms), and for how long news are kept (ms), since they may have what was cleared or is too old meanwhile. Answers the
# processes that had no lease any more, possibly this one among them.
LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', now - ARGV[3]))
return dead
"""

# ARGV: epoch, the id of a CLEAR that all processes have had the time to read. Drops what was said before it.
TRIM = (
    _COMMON
    + """
if redis.call('HGET', meta, 'epoch') == ARGV[1] then
    redis.call('XTRIM', log, 'MINID', ARGV[2])
end
"""
)

SCRIPTS = (OPEN, APPEND, RENEW, TRIM, EXPIRE, LEASE)
