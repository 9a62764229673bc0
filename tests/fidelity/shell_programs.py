"""Small programs of ordinary tools, as shell text: what each prints, how it ends and what it leaves is compared with and without the guard.

Each runs by `bash` in an empty folder of its own. None prints a process number, an inode, a time of now or an order that the file system is
free to choose. `NEEDS` names the tool that a program cannot do without, where that is more than coreutils, sed, grep and find.
"""

from __future__ import annotations

from typing import Final

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "acl_default": ("setfacl", "getfacl"),
    "bwrap_one": ("bwrap",),
    "bwrap_two": ("bwrap",),
    "cc_compile": ("cc",),
    "cc_static": ("cc",),
    "cpio_copy": ("cpio",),
    "make_parallel": ("make",),
    "make_targets": ("make",),
    "node_files": ("node",),
    "perl_files": ("perl",),
    "rsync_copy": ("rsync",),
    "script_pty": ("script",),
    "sqlite_journal": ("sqlite3",),
    "sqlite_wal": ("sqlite3",),
    "strace_inside": ("strace",),
    "xattr_tools": ("setfattr", "getfattr"),
    "zip_round": ("zip", "unzip"),
    **dict.fromkeys(
        (
            "git_bundle",
            "git_clean",
            "git_clone_local",
            "git_clone_shared",
            "git_commit",
            "git_hooks_run",
            "git_merge",
            "git_rebase",
            "git_stash",
            "git_submodule",
            "git_subfolder",
            "git_worktree",
        ),
        ("git",),
    ),
}

# Identity, dates and configuration of git are the same wherever it runs.
GIT: Final = """
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.test GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.test
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_NOSYSTEM=1
start() { git -c init.defaultBranch=main init -q "$1"; }
tidy() { find . -name index -path '*.git*' -delete; find . -path '*/logs/*' -type f -delete; find . -name 'FETCH_HEAD' -delete; }
"""

PROGRAMS: Final[dict[str, str]] = {
    # --- coreutils
    "touch_modes": "umask 027; touch a; umask 0; touch b; umask 777; touch c; umask 022; stat -c '%n %a' a b c",
    "umask_changes": "for m in 000 002 022 027 077 177 777; do umask $m; mkdir d$m; : > f$m; done; umask 022; stat -c '%n %a' d* f*",
    "umask_subshell": "umask 022; (umask 077; : > inner; mkdir innerd); : > outer; stat -c '%n %a' inner innerd outer",
    "umask_inherited": "umask 077; bash -c ': > f; mkdir d'; sh -c 'umask; : > g'; stat -c '%n %a' f d g",
    "mkdir_deep": "mkdir -p a/b/c/d/e && mkdir a/b; echo $?; mkdir -m 1777 t; mkdir -m 2755 g; stat -c '%n %a' t g; rmdir -p a/b/c/d/e; ls",
    "rm_tree": "mkdir -p t/{a,b,c}/{1,2,3}; touch t/{a,b,c}/{1,2,3}/f; ln -s ../.. t/a/up; rm -r t; ls -A; echo $?",
    "rm_errors": "rm nothing; echo $?; mkdir d; rm d; echo $?; rmdir d/nothing; echo $?; touch d/f; rmdir d; echo $?; rm -f nothing; echo $?",
    "cp_all": "mkdir s; echo x > s/f; ln -s f s/l; ln s/f s/h; mkfifo s/p; chmod 640 s/f; touch -d 2001-02-03 s/f; cp -a s t; stat -c '%n %a %h %F' t/*; cp -r --parents s/f u 2>&1; mkdir u; cp --parents s/f u; find u | sort",
    "cp_errors": "cp nothing x; echo $?; mkdir d; cp d x; echo $?; echo a > a; cp a a; echo $?; cp a nodir/x; echo $?; cp a d/x/y; echo $?; cp -n a d; cp a a/; echo $?",
    "cp_sparse": "truncate -s 10M s; printf x | dd of=s bs=1 seek=5M conv=notrunc 2>/dev/null; cp --sparse=always s t; cmp s t; stat -c %s t; rm s t",
    "cp_reflink": "head -c 100000 /dev/zero > a; cp --reflink=auto a b; cmp a b; echo $?",
    "mv_across": "mkdir a b; echo 1 > a/f; mv a/f b/g; mv b c; ls -R; echo 2 > c/h; mv -n c/g c/h; cat c/h; mv c/g c/h; cat c/h; mv c c/h; echo $?; mv c c/d; echo $?",
    "mv_to_shm": "d=$(mktemp -d /dev/shm/fidelityXXXXXX); echo x > f; mv f $d/f; cat $d/f; mv $d/f g; cat g; rmdir $d; ls",
    "ln_all": "echo x > a; ln a b; ln -s a c; ln -s nowhere d; ln c e; ln -L c f; stat -c '%n %h %F' a b c d e f; ln a b; echo $?; ln nothing x; echo $?; ln -sf b c; readlink c; mkdir dd; ln dd x; echo $?",
    "ln_relative": "mkdir -p x/y z; touch x/y/f; ln -sr x/y/f z/l; readlink z/l; cat z/l; cd z; readlink -f l | sed \"s,$(dirname $PWD),,\"",
    "readlink_forms": "ln -s a b; ln -s b c; readlink b c; readlink -f c | xargs basename; readlink -e c; echo $?; readlink nothing; echo $?; realpath -m x/../y | xargs basename",
    "install_modes": "echo x > s; install -m 4711 s t; install -d -m 750 d/e; install -D -m 600 s p/q/r; stat -c '%n %a' t d/e p/q/r",
    "chmod_forms": "touch f; mkdir d; chmod 4755 f; chmod g+s,o+t d; chmod u-x f; stat -c '%n %a' f d; ln -s f l; chmod 600 l; stat -c '%n %a' f l; chmod -R a-w d; chmod 644 nothing; echo $?; chmod 000 f; stat -c %a f; chmod --reference=d f; stat -c %a f",
    "chown_forms": "touch f; ln -s f l; chown $(id -u):$(id -g) f; chown -h $(id -u) l; chgrp $(id -g) f; chown 99999999 nothing; echo $?; stat -c '%U %G' f",
    "chown_clears_suid": "touch f; chmod 6755 f; chown $(id -u) f; stat -c %a f; mkdir d; chmod 2755 d; chown $(id -u) d; stat -c %a d",
    "truncate_tool": "echo hello > f; truncate -s 2 f; cat f; echo; truncate -s +3 f; od -c f; truncate -s 1 nodir/f; echo $?; truncate -c -s 1 nothing; ls",
    "dd_forms": "printf 0123456789 > f; dd if=f of=g bs=2 skip=1 count=2 2>/dev/null; cat g; echo; dd if=f of=g bs=1 seek=8 conv=notrunc 2>/dev/null; cat g; echo; dd if=/dev/zero of=h bs=1k count=3 oflag=append conv=notrunc 2>/dev/null; stat -c %s h; dd if=f of=x oflag=excl conv=excl 2>/dev/null; dd if=f of=x conv=excl 2>&1 | head -1; dd if=. of=y 2>&1 | head -1",
    "touch_dates": "touch -d '2001-02-03 04:05:06.789' a; touch -r a b; touch -a -d 2010-01-01 b; touch -m -d 2011-01-01 b; stat -c '%n %X %Y %y' a; stat -c '%n %X %Y' b; ln -s a l; touch -h -d 1999-01-01 l; stat -c '%Y' l a; touch -c nothing; ls",
    "ls_forms": "mkdir d; touch d/{a,b,c}; ls d nothing; echo $?; ls -1U d | sort; ls -ld d | cut -c1-10; ls d/a/; echo $?",
    "du_df": "head -c 50000 /dev/zero > f; du --apparent-size -k f; df . >/dev/null; echo $?; stat -f -c %T /proc",
    "sort_uniq": "seq 1000 -1 1 | sort -n -T . -S 10k | md5sum; printf 'a\\nb\\na\\n' > f; sort -o f f; cat f; uniq -c f; split -l 1 f part; ls; tee x y < f > /dev/null; cat x y; comm x y; paste x y | head -1; join x y | sort -u",
    "tee_append": "echo 1 | tee f; echo 2 | tee -a f g nodir/x; echo ${PIPESTATUS[1]}; cat f g",
    "mktemp_forms": "f=$(mktemp ./fXXXXXX); stat -c '%a %s' $f; d=$(mktemp -d ./dXXXXXX); stat -c %a $d; rm -r $f $d; mktemp nodir/XXXXXX; echo $?",
    "shred_file": "echo secret > f; shred -n 1 -u f; ls -A",
    "csplit_tool": "seq 10 > f; csplit -s f 4 7; head xx*; ls",
    "tac_rev_od": "printf 'a\\nb\\nc' > f; tac f | od -c; od -An -tx1 f; wc f; cksum f; md5sum f; base64 f; fold -w1 f | head -2; nl f; expand f; tr a-c A-C < f",
    "env_tool": "env -i A=1 /usr/bin/env; env -i nothing-here; echo $?; env -C / pwd; env /etc/passwd; echo $?",
    "nice_nohup": "nice -n 5 nice; nohup sh -c 'echo out' 2>/dev/null; setsid -w sh -c 'exit 4'; echo $?; stdbuf -o0 echo x",
    "xargs_forms": "printf 'a b\\nc\\n' | xargs -n1 touch; ls; ls | xargs -I{} mv {} {}.x; ls; seq 100 | xargs -P4 -n5 sh -c 'exit 0'; echo $?; echo x | xargs false; echo $?; echo x | xargs nothing-here; echo $?",
    "seq_yes_head": "yes | head -3; seq 5 | tail -2; yes x | head -c 1M | wc -c",
    "test_tool": "touch f; mkdir d; ln -s f l; mkfifo p; for t in e f d L p r w x s S b c; do [ -$t f ] && echo f $t; [ -$t d ] && echo d $t; [ -$t l ] && echo l $t; [ -$t p ] && echo p $t; done; [ f -ef l ] && echo same; [ -t 0 ] || echo notty",
    # --- find, sed, grep, awk
    "find_forms": "mkdir -p a/b c; touch a/f a/b/g c/h; ln -s ../a c/l; find . -type f | sort; find -L . -name g | sort; find . -name h -delete; find . -empty | sort; find . -type f -exec chmod 600 {} +; find . -type f -printf '%p %m\\n' | sort; find a -depth -exec rm -r {} \\; 2>/dev/null; find nothing; echo $?",
    "find_exec": "mkdir d; for i in 1 2 3 4 5 6 7 8; do echo $i > d/$i; done; find d -type f -exec sh -c 'echo \"$(cat $1)x\"' _ {} \\; | sort; find d -type f -execdir rm {} \\; ; ls d",
    "sed_in_place": "printf 'a\\nb\\n' > f; chmod 640 f; sed -i.bak s/a/x/ f; cat f f.bak; stat -c %a f f.bak; ln -s f l; sed -i --follow-symlinks s/b/y/ l; readlink l; cat f; sed -i s/x/z/ l; test -L l; echo $?; sed -n w.out f; sed s/a/b/ nothing; echo $?; sed -i s/a/b/ d; echo $?",
    "grep_forms": "mkdir -p d/e; echo needle > d/f; echo x > d/e/g; ln -s ../f d/e/l; grep -r needle d; grep -rl x . ; grep needle nothing; echo $?; grep -c x d/e/g; grep x d; echo $?; printf 'a\\0b' > bin; grep a bin",
    "awk_files": "printf '1 2\\n3 4\\n' > f; awk '{print $2 > (\"out\" NR)}' f; cat out1 out2; awk 'BEGIN{while((getline l < \"f\")>0) print l; print \"x\" | \"cat\"; close(\"cat\"); system(\"exit 3\")}'; awk 'BEGIN{getline < \"nothing\"; print ERRNO}'; awk '{print >> \"f2\"}' f f; cat f2",
    # --- archives
    "tar_round": "mkdir -p s/d; echo x > s/f; ln -s f s/l; ln s/f s/h; chmod 750 s/d; mkfifo s/p; touch -d 2001-01-01 s/f; tar cf a.tar s; mkdir t; tar xpf a.tar -C t; stat -c '%n %a %h %F' t/s t/s/*; stat -c %Y t/s/f; tar tf a.tar | sort; rm a.tar",
    "tar_gz": "seq 10000 > f; tar czf a.tgz f; rm f; tar xzf a.tgz; md5sum f; tar xzf nothing 2>&1 | head -1; rm a.tgz",
    "tar_unlink_first": "mkdir d; echo 1 > d/f; tar cf a.tar d; chmod 444 d/f; echo 2 > x; ln -f x d/f; tar xf a.tar; cat d/f x; tar xkf a.tar; echo $?; rm a.tar",
    "tar_pipe": "mkdir s t; for i in $(seq 50); do echo $i > s/$i; done; tar c -C s . | tar x -C t; diff -r s t; echo $?; ls t | wc -l",
    "gzip_forms": "seq 1000 > f; touch -d 2001-01-01 f; gzip -k f; gzip f 2>&1 </dev/null; gunzip -f f.gz; md5sum f; stat -c %Y f; bzip2 f 2>/dev/null; xz -q f 2>/dev/null; ls",
    "cpio_copy": "mkdir s; echo x > s/f; ln -s f s/l; find s | sort | cpio -o --quiet > a; mkdir t; cd t; cpio -id --quiet < ../a; find . | sort; readlink s/l; rm ../a",
    "zip_round": "mkdir s; echo x > s/f; chmod 600 s/f; zip -qr a.zip s; rm -r s; unzip -q a.zip; cat s/f; stat -c %a s/f; rm a.zip",
    "rsync_copy": "mkdir -p s/d; echo x > s/f; ln -s f s/l; chmod 640 s/f; rsync -a s/ t; rsync -a --delete s/ t; rm s/f; rsync -a --delete s/ t; find t | sort; rsync -a nothing t; echo $?",
    # --- shells
    "bash_redirect": "echo 1 > f; echo 2 >> f; cat < f; set -C; echo 3 > f; echo $?; echo 4 >| f; cat f; exec 5<> f; read x <&5; echo $x; echo more >&5; exec 5>&-; cat f; { echo o; echo e >&2; } > both 2>&1; cat both; cat < nothing; echo $?; echo x > /; echo $?; echo x > nodir/f; echo $?",
    "bash_process_substitution": "diff <(seq 3) <(seq 4); echo $?; cat <(echo a) <(echo b); tee >(cat > f) > /dev/null <<< hi; sleep 0.2; cat f; while read x; do echo got $x; done < <(printf '1\\n2\\n'); wc -l < <(seq 5)",
    "bash_here": "cat <<E\n$HOME_NOT_SET here\nE\ncat <<< word; head -c 200000 /dev/zero | tr '\\0' x > big; x=$(cat big); cat <<E | wc -c\n$x\nE",
    "bash_jobs": "sleep 0.1 & p=$!; wait $p; echo $?; (exit 7) & wait $!; echo $?; sleep 5 & kill $!; wait $!; echo $?; { sh -c 'kill -9 $$'; } 2> /dev/null; echo $?; trap 'echo term' TERM; kill -TERM $$; trap 'echo bye' EXIT",
    "bash_exec_errors": "nothing-here; echo $?; ./nothing; echo $?; touch notexec; ./notexec; echo $?; mkdir d; ./d; echo $?; chmod +x notexec; ./notexec; echo $?; notexec/x; echo $?; echo 'echo no shebang $1' > s; chmod +x s; ./s a; echo $?; printf '\\x7fELF' > e; chmod +x e; ./e; echo $?; (exec nothing-here); echo $?; printf '#!/nothing/here\\n' > b; chmod +x b; ./b; echo $?; printf '#!\\n' > c; chmod +x c; ./c; echo $?; printf '\\0\\1\\2\\3' > g; chmod +x g; ./g; echo $?",
    "bash_special": "echo a > /dev/stdout; echo b > /dev/stderr; echo c | cat /dev/stdin; echo d | cat - ; cat /dev/null; echo e > /dev/null; cat < /dev/fd/0 <<< f; head -c 3 /dev/zero | od -An -c; echo x > /dev/full; echo $?; : < /dev/tty; echo $?; cat /dev/fd/9; echo $?; exec 7< <(echo seven); cat /dev/fd/7; echo g 3>&1 > /proc/self/fd/3",
    "bash_cd": "mkdir -p a/b; ln -s a/b l; cd l; pwd | xargs basename; pwd -P | xargs basename; cd ..; pwd -P | xargs basename; cd nothing; echo $?; touch f; cd f; echo $?; cd a/b; rmdir ../b; touch x; echo $?; ls; pwd >/dev/null; echo $?; mkdir y; echo $?",
    "bash_glob": "touch -- a1 a2 'b c' $'n\\nl' $'t\\tb' '-dash' '*' ; printf '%q\\n' *; rm -- -dash; rm '*'; ls | wc -l; for f in *; do printf '<%q>' \"$f\"; done",
    "bash_source": "echo 'x=5; return 3' > lib; . ./lib; echo $? $x; . ./nothing; echo $?; source <(echo 'y=6'); echo $y",
    "bash_coproc": "coproc cat; echo hi >&${COPROC[1]}; read -r l <&${COPROC[0]}; echo $l; kill $COPROC_PID",
    "bash_ulimit": "ulimit -n 64; ulimit -n; ulimit -f 1; head -c 100000 /dev/zero > f; echo $?; stat -c %s f",
    "bash_fd_limit": "ulimit -n 12; for i in 3 4 5 6 7 8 9; do eval \"exec $i< /dev/null\"; done; cat /dev/null /dev/null; echo $?; exec 10< /dev/null; echo $?; python3 -c 1; echo $?",
    "sh_closed": "cat <&-; echo $?; echo x >&-; echo $?; ls nothing 2>&-; echo $?; sh -c 'touch made <&- >&- 2>&-'; ls; python3 -c 'import os; print(os.open(\"f\", os.O_CREAT|os.O_WRONLY))' <&-",
    "sh_fifo": "mkfifo p; cat p > out & echo through > p; wait; cat out; (sleep 0.1; echo late > p) & cat < p; wait; mkfifo p; echo $?; (exec 3<> p; echo x >&3; read y <&3; echo $y); timeout 0.3 cat p; echo $?; timeout 0.3 sh -c 'echo x > p'; echo $?; stat -c %F p",
    "sh_fifo_many": "for i in 1 2 3 4 5; do mkfifo p$i; (cat p$i > o$i) & done; for i in 5 4 3 2 1; do echo $i > p$i; done; wait; cat o*",
    "sh_signals": "sh -c 'trap \"echo int; exit 5\" INT; kill -INT $$; sleep 1'; echo $?; sh -c 'trap \"\" TERM; kill -TERM $$; echo alive'; sleep 3 & kill -STOP $!; kill -CONT $!; kill $!; wait $!; echo $?; kill -0 $$; echo $?; kill -0 999999; echo $?; kill 999999; echo $?; kill -l 9",
    "sh_group_signal": "set -m; (sleep 5 & sleep 5 & wait) & sleep 0.2; kill -TERM -$!; wait $!; echo $?",
    "sh_lock": "exec 9> lock; flock 9; flock -n lock true; echo $?; flock -u 9; flock -n lock echo got; (flock -s 9; echo shared) 9> lock",
    "sh_shebang": "printf '#!/bin/sh\\necho \"$0 $*\"\\n' > a; printf '#!./a x y\\n' > b; printf '#!./b\\n' > c; chmod +x a b c; ./a 1 2; ./b 3; ./c 4; ln -s a l; ./l; PATH=$PWD:$PATH a | sed \"s,$PWD,,\"; printf '#! /usr/bin/env  -S sh -e\\necho env\\n' > d; chmod +x d; ./d; printf '#!/bin/cat\\nself\\n' > e; chmod +x e; ./e; printf '#!./f\\n' > f; chmod +x f; ./f; echo $?; printf '#!/bin/sh -e -u\\n' > g; chmod +x g; ./g; echo $?",
    "sh_exec_chain": "exec sh -c 'exec sh -c \"exec sh -c \\\"echo deep; exit 9\\\"\"'",
    "sh_trailing_slash": "touch f; mkdir d; ln -s d l; ln -s f lf; cat f/; echo $?; touch f/; echo $?; touch new/; echo $?; mkdir e/; echo $?; rm l/; echo $?; rmdir l/; echo $?; ls -d l/; mv d d2/; ls -d d2; ln -s d2 l2; mv l2/ l3; echo $?; rm f/; echo $?; rmdir d2/; echo $?; mkdir lf/; echo $?; mkdir f/; echo $?; mkdir nothing/x/; echo $?; cp f g/; echo $?; ln f h/; echo $?; ln -s f i/; echo $?; mv f j/; echo $?",
    "sh_dots": "mkdir -p a/b; touch a/b/../../f; ls a/./b/../..; cat a/../nothing/../f; echo $?; touch .//x; ls; rm ./.; echo $?; rmdir .; echo $?; rmdir a/b/.; echo $?; rmdir a/b/..; echo $?; mv a/. c; echo $?; mkdir .; echo $?; mkdir ..; echo $?; mkdir a/.; echo $?; cd /../..; pwd",
    "sh_loops": "ln -s a b; ln -s b a; cat a; echo $?; echo x > a; echo $?; ln -s self/x self; cat self; echo $?; touch t; rm a; ls; mkdir -p d; for i in $(seq 45); do ln -s l$((i-1)) l$i; done; echo z > l0; cat l39; cat l40; echo $?; cat l41; echo $?; cat l45; echo $?; echo y > l42; echo $?; mkdir a/b; echo $?",
    "sh_deep_path": "p=.; for i in $(seq 20); do p=$p/$(printf 'd%.0s' $(seq 180)); done; mkdir -p $p && echo ok; echo x > $p/f; cat $p/f; q=$p/$(printf 'e%.0s' $(seq 200)); mkdir $q; echo $?; (cd $p; pwd | wc -c; echo y > g; cat ../$(basename $p)/g); rm -rf d*; ls -A",
    "sh_bytes": "f=$'\\xff\\xfe\\x80'; echo x > $f; cat $f; mkdir $'d\\xe9'; mv $f $'d\\xe9'/$'n\\xfc'; ls d* | od -An -tx1; ln -s $'\\x80' l; readlink l | od -An -tx1; rm -r $'d\\xe9'; printf 'sh %s\\n' $'\\xc3\\x28' | od -An -tx1; sh -c 'printf %s \"$1\"' _ $'\\xff' | od -An -tx1; touch $'new\\nline' 'a b' '\"q\"' ' (deleted)'; cat ' (deleted)'; ls | od -c",
    "sh_deleted": "echo x > f; exec 3< f; rm f; cat <&3; cat /proc/self/fd/3; echo $?; echo y > 'f (deleted)'; cat 'f (deleted)'; exec 4> g; rm g; echo z >&4; cat /proc/self/fd/4 2>&1; echo w > /proc/self/fd/4; cat /dev/fd/4",
    "sh_proc_self": "cat /proc/self/comm; tr '\\0' ' ' < /proc/self/cmdline; echo; readlink /proc/self/exe; head -c 3 /proc/self/status; cd /proc/self/cwd; pwd -P | xargs basename; ls /proc/self/fd | head -3; cat /proc/self/uid_map; grep -c . /proc/self/mounts; cat /proc/self/oom_score_adj; cat /proc/thread-self/comm; ls /proc/self/task | wc -l; cat /proc/self/root/etc/hostname | wc -l; cut -d' ' -f2 /proc/self/stat; cat /proc/self/mem; echo $?; cat /proc/self/environ | tr '\\0' '\\n' | grep -c ^HOME=; cat /proc/self/nothing; echo $?; echo x > /proc/self/comm; cat /proc/$$/comm; cat /proc/sys/kernel/ostype; echo 5 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj; cat /proc/self/limits | wc -l",
    "sh_dev_fd_write": "exec 3> out; echo a > /dev/fd/3; echo b >> /proc/self/fd/3; echo c >&3; exec 3>&-; cat out; echo piped | cat > /dev/stdout | cat; (echo x > /dev/stderr) 2> err; cat err; ln -s /proc/self/fd/1 link; echo through > link; ln -s /dev/stdout out2; echo two | tee out2 | tail -1",
    "sh_which": "command -v sh; type -t cd; which nothing-here; echo $?; hash ls; id -un; whoami; hostname > /dev/null; uname -s; nproc > /dev/null; tty; echo $?; date -d @0 -u +%F; getent passwd root | cut -d: -f1; ls -ld / | cut -c1-10",
    "sh_vi_style": "echo 1 > f; chmod 600 f; mv f f~; cat f~ > f; echo 2 >> f; chmod --reference=f~ f; rm f~; stat -c '%n %a' f; cat f; ln f g; echo 3 > f.new; mv f.new f; cat f g",
    "script_pty": "script -qec 'tty > /dev/null && echo is tty; echo hi > /dev/tty; stty size; : < /dev/tty && echo ok; [ -t 0 ] && echo stdin' /dev/null < /dev/null | tr -d '\\r'",
    "strace_inside": "strace -f -o t -e trace=none true; echo $?; wc -l < t | tr -d ' '; rm t",
    "acl_default": "mkdir d; setfacl -d -m u::rwx,g::rwx,o::r-x d; umask 077; touch d/f; mkdir d/e; getfacl -c d/f d/e; stat -c '%n %a' d/f d/e",
    "xattr_tools": "touch f; setfattr -n user.a -v 1 f; getfattr -d f; setfattr -x user.a f; getfattr -d f; setfattr -n user.a -v 1 nothing; echo $?",
    # --- editors' and builders' tools
    "make_targets": "printf 'all: b\\n\\tcat b\\nb: a\\n\\tcp a b\\n\\techo more >> b\\na:\\n\\techo src > $@\\nfail:\\n\\t@exit 3\\n' > Makefile; make; make; make fail; echo $?; make nothing; echo $?; touch -d 2001-01-01 b; make -s",
    "make_parallel": "{ echo 'all: $(shell seq -f o%g 12)'; for i in $(seq 12); do printf 'o%s:\\n\\t@echo %s > $@\\n' $i $i; done; } > Makefile; make -s -j4; cat $(seq -f o%g 12)",
    "cc_compile": "printf '#include <stdio.h>\\nint main(){puts(\"compiled\");return 3;}' > a.c; cc -O1 -o a a.c; ./a; echo $?; cc -c a.c; ls; cc nothing.c 2>&1 | head -1 | tail -c 30; rm -f a a.o; printf 'int main( {' > b.c; cc b.c 2> /dev/null; echo $?",
    "cc_static": "printf '#include <unistd.h>\\n#include <fcntl.h>\\nint main(){int f=open(\"made\",O_CREAT|O_WRONLY,0644);write(f,\"x\",1);write(1,\"static\\\\n\",7);return 4;}' > a.c; cc -static -o a a.c; ./a; echo $?; cat made; cp a b; ./b > out; cat out; rm a b",
    "perl_files": "perl -e 'open F,\">f\";print F \"x\";close F;rename \"f\",\"g\";symlink \"g\",\"l\";link \"g\",\"h\";chmod 0600,\"g\";utime 1,2,\"g\";mkdir \"d\",0700;rmdir \"d\";unlink \"h\";print join(\" \",(stat \"g\")[2,3,7,8,9]),\"\\n\";open(F,\"<nothing\") or print \"$!\\n\";mkdir \"g\" or print \"$!\\n\";rmdir \"g\" or print \"$!\\n\";truncate \"g\",0;print -s \"g\",\"|\\n\";opendir D,\".\";print sort(grep /^[a-z]/,readdir D),\"\\n\"; umask 077; open F,\">m\"; print sprintf(\"%o\",(stat \"m\")[2]),\"\\n\"'",
    "sqlite_journal": "sqlite3 a.db 'create table t(x); begin; insert into t values(1),(2); commit; select sum(x) from t; vacuum;'; ls; sqlite3 a.db 'pragma integrity_check'; sqlite3 /nodir/x 'create table t(x)'; echo $?; rm a.db",
    "sqlite_wal": "sqlite3 a.db 'pragma journal_mode=wal; create table t(x); insert into t values(1);'; sqlite3 a.db 'select * from t'; (sqlite3 a.db \"insert into t values(2)\"; sqlite3 a.db 'select count(*) from t'); ls; rm -f a.db*",
    "node_files": "node -e 'const f=require(\"fs\");f.writeFileSync(\"a\",\"x\",{mode:0o600});f.appendFileSync(\"a\",\"y\");f.copyFileSync(\"a\",\"b\");f.renameSync(\"b\",\"c\");f.symlinkSync(\"a\",\"l\");f.linkSync(\"a\",\"h\");f.mkdirSync(\"d/e\",{recursive:true});f.rmSync(\"d\",{recursive:true});f.truncateSync(\"a\",1);f.utimesSync(\"a\",1,2);f.chmodSync(\"c\",0o444);console.log(f.readdirSync(\".\").join(),f.readFileSync(\"l\",\"utf8\"),f.statSync(\"a\").mtimeMs);try{f.openSync(\"nothing\")}catch(e){console.log(e.code)};try{f.mkdirSync(\"a\")}catch(e){console.log(e.code)};f.promises.readFile(\"a\").then(x=>console.log(x.toString()));f.promises.opendir(\".\").then(async d=>{let n=0;for await(const x of d)n++;console.log(n)})'",
    # --- git
    "git_commit": GIT + "start r; cd r; echo a > a; git add a; git commit -qm one; echo b >> a; git commit -qam two; git log --format=%H; git status --short; git diff HEAD~ --stat; git checkout -q HEAD~; cat a; git checkout -q main; git fsck; git gc -q; git count-objects -v | grep -v size; git show HEAD:a; cd ..; tidy",
    "git_clone_local": GIT + "start r; cd r; for i in 1 2 3; do echo $i > f$i; git add .; git commit -qm $i; done; cd ..; git clone -q r c; cd c; git log --format=%s; git branch -a; echo x > n; git add n; git commit -qm n; git push -q origin HEAD:refs/heads/other; cd ../r; git log other -1 --format=%s; cd ..; git clone -q --no-local r e; git clone -q nothing z; echo $?; git clone -q file://$PWD/r g --depth 1; git -C g log --format=%s; tidy",
    "git_clean": GIT + "start r; cd r; echo o > .gitignore; touch o a; mkdir d; touch d/x; git add .gitignore; git commit -qm 1; git clean -n; git clean -fd; ls; git clean -fdX; ls; cd ..; tidy",
    "git_hooks_run": GIT + "start r; cd r; printf '#!/bin/sh\\necho hook ran\\nexit 1\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo 1 > a; git add .; git commit -qm 1; echo $?; git commit -qnm 1; echo $?; cd ..; tidy",
    # --- sandboxes of their own
    "bwrap_one": "echo in > f; mkdir ro; bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --bind $PWD /mnt --ro-bind $PWD/ro /mnt/ro --unshare-pid --chdir /mnt sh -c 'cat f; echo out > g; echo x > ro/x; echo $?; touch /tmp/t; ls /tmp; cat /proc/self/comm; echo $$'; cat g",
    "bwrap_two": "bwrap --bind / / --dev /dev --proc /proc --unshare-user sh -c 'bwrap --bind / / --dev /dev --unshare-user sh -c \"echo deep > d; cat d; cat /proc/self/uid_map\"'; echo $?; cat d",
    "unshare_user": "unshare -r sh -c 'id -u; touch made; cat /proc/self/uid_map'; echo $?; stat -c '%n %u' made; unshare -rm sh -c 'mkdir m; mount -t tmpfs t m; echo x > m/f; cat m/f; ls m'; ls m; unshare -rn sh -c 'ls /sys/class/net | head -1'; chroot / sh -c 'echo chrooted'; mkdir root; chroot root sh; echo $?",
    "unshare_pid": "unshare -rpf --mount-proc sh -c 'echo $$; cat /proc/self/comm; ls /proc/1/fd > /dev/null; echo $?; kill -0 1; echo $?'",
}  # fmt: skip
