# Ends the machine that it runs on, over the service's API and with the machine's own key.
#
# watchdog.py sets the values in capitals in front of this, takes out comments, indentation and what is between "only NAME" and "end"
# for a NAME without a value, and runs the rest as `sh -c`: no file is needed, so a full disk does not stop it. No single quotes in
# here: all of it goes between two of them.
#
# URL     the service
# END     when it is over, by the service's clock, seconds since 1970
# ASK     what then ends it: a method and a body
# BEFORE  a command to run before; LIMIT: how many seconds it may take
# IDLE    seconds without GPU use, after some, that end it too
# SPEND   nano-dollars of traffic that end it too; DOWN, UP: the price of a megabyte
#
# shellcheck shell=sh disable=SC2016,SC2017,SC2046,SC2086,SC2153,SC2154

POLL=${VASTNB_WATCHDOG_POLL_S:-20}
FILE=${HOME:-/root}/.vastnb-watchdog-$CONTAINER_ID
trap "" HUP

# Since the host's boot: unlike the wall clock it never jumps.
clock() {
    read -r up rest </proc/uptime
    up=${up%.*}
}

# The first tool that gets an answer. The key goes through a pipe, the environment or a private file: `ps` shows command lines to everybody.
# An older wget, and that of busybox, can neither PUT nor DELETE: it refuses these options, and the next tool is tried.
ask() {
    set -- $URL/api/v0/instances/$CONTAINER_ID/ "$@"
    for tool in curl python3 python wget; do
        command -v $tool >/dev/null || continue
        case $tool in
        curl)
            answer=$(printf "header = \"Authorization: Bearer %s\"\n" $CONTAINER_API_KEY |
                curl -siK- -m30 -X$2 -HContent-Type:application/json ${3:+-d$3} $1)
            ;;
        wget)
            for rc in /dev/shm /tmp; do
                rc=$(mktemp $rc/XXXXXX) && echo header = Authorization: Bearer $CONTAINER_API_KEY >"$rc" && break
                rm "$rc"
            done
            answer=$(wget --config="$rc" -qSO- -T30 -t1 --max-redirect=0 --content-on-error --method=$2 \
                --header=Content-Type:application/json ${3:+--body-data=$3} $1 2>&1)
            rm "$rc"
            ;;
        *)
            answer=$($tool -c "import os,sys,urllib.request as r
u,m,*d=sys.argv[1:]
h={\"Authorization\":\"Bearer \"+os.environ[\"CONTAINER_API_KEY\"],\"Content-Type\":\"application/json\"}
try:a=r.urlopen(r.Request(u,d[0].encode()if d else None,h,method=m),timeout=30)
except r.HTTPError as e:a=e
sys.stdout.buffer.write(b\"HTTP/\n\"+bytes(a.headers)+a.read())" "$@")
            ;;
        esac
        case $answer in *HTTP/*) return ;; esac
    done
}

# Lines of the last answer, rewritten by an expression of sed; only those that it matches.
lines() {
    printf "%s\n" "$answer" | sed -nE "s/$1/p"
}

# The service's time and, from the label (instances/labels.py writes it), a later end.
look() {
    ask GET
    clock
    set -- $(lines "^ *[Dd]ate: *[A-Za-z]+, 0?([0-9]+) ([A-Za-z]+) ([0-9]+) 0?([0-9]+):0?([0-9]+):0?([0-9]+) .*/\1 \2 \3 \4 \5 \6")
    if [ $# -ge 6 ]; then
        month=JanFebMarAprMayJunJulAugSepOctNovDec
        month=${month%%"$2"*}
        # Counted from March: leap days come last then.
        month=$(((${#month} / 3 + 10) % 12)) year=$(($3 - (month > 9)))
        days=$((year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + $1 - 719469))
        ahead=$((((days * 24 + $4) * 60 + $5) * 60 + $6 - up))
    fi
    case $answer in
    *\"label\"*) later=$(lines ".*\"label\": *\"[^\" ]*( name=[^\" ]*)? until=([0-9]{10})[\" ].*/\2") ;;
    esac
}

over() {
    clock
    end=$END
    [ ${later:-0} -gt $end ] && end=$later
    left=$((end - ahead - up - LIMIT))
    [ "$limit" ] || [ $left -le 0 ]
}

# What must survive a boot.
save() {
    now="$$ $ran $down $sent $in0 $out0 $born"
    [ "$now" != "$saved" ] && echo $now >"$FILE.new" && mv -f "$FILE.new" "$FILE" && saved=$now
}

# only SPEND
# Bytes of the network, those of earlier boots included.
count() {
    in=0 out=0
    while IFS=": " read -r name r rest rest rest rest rest rest rest t rest; do
        case $name:$r in lo:* | *: | *:*[!0-9]*) continue ;; esac
        in=$((in + r)) out=$((out + t))
    done <"$PROC/net/dev"
    down=$((down + in - in0)) sent=$((sent + out - out0)) in0=$in out0=$out
    [ $((down / 1000000 * DOWN + sent / 1000000 * UP)) -gt $SPEND ] && limit=1
}
# end

# only BEFORE
# Whether the command ran now. It gets what is left until the end, and never twice for one end.
before() {
    [ $ran = 0 ] || return
    ran=1
    save
    stop=$((up + LIMIT + (-LIMIT < left && left < 0 ? left : 0)))
    $(command -v setsid) sh -c "$BEFORE" &
    while kill -0 $! && [ $up -lt $stop ]; do
        sleep 1
        clock
    done
    kill -9 -$! || kill -9 $!
    :
}
# end

# The environment may hold variables of these names, and a crash may have spoilt the file: bad arithmetic would end the watchdog.
unset limit later saved used
{ read -r owner ran down sent in0 out0 born <"$FILE" && (: $((ran + down + sent + in0 + out0))); } ||
    ran=0 down=0 sent=0 in0=0 out0=0 born=""
clock
ahead=$(($(date +%s) - up)) tick=0 wait=0 pause=1

# only SPEND
# When process 1 began tells one boot from another, and counters begin anew with each.
PROC=${VASTNB_WATCHDOG_PROC:-/proc}
read -r rest <"$PROC/1/stat"
set -- ${rest##*) }
[ "$born" = ${20} ] || born=${20} in0=0 out0=0
# end

# only IDLE
# A process of its own: nvidia-smi can hang for ever on a broken GPU.
trap "limit=1" USR1
while kill -0 $$; do
    clock
    case $(nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits) in
    *[1-9]*) used=$up ;;
    "" | *[!0[:space:]]*) used=${used:+$up} ;;
    esac
    [ "$used" ] && [ $((up - used)) -ge $IDLE ] && kill -USR1 $$
    sleep $POLL
done &
# end

while :; do
    # Of two watchdogs the last that wrote the file stays. One that could not write goes on: rather two than none.
    [ "$saved" ] && read -r owner rest <"$FILE" && [ "$owner" != $$ ] && exit
    # only SPEND
    count
    # end
    save
    [ $tick = 0 ] && look
    tick=$(((tick + 1) % 15))
    if over; then
        if [ $wait = 0 ]; then
            look
            # only BEFORE
            over && before && look
            # end
            over && ask $ASK
            wait=$pause
            pause=$((pause < 8 ? pause * 2 : 15))
        fi
        wait=$((wait - 1))
    else
        ran=0 wait=0 pause=1
    fi
    sleep $((0 < left && left < POLL ? left : POLL))
done
