#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose image may run under a workload's name: a new tag keeps the workload, another repository waits for
a person, closed, and counts as nobody meanwhile. With Docker, by Compose's labels and by plain names."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.environ.get("top_srcdir", "."), "tests/integration"))
from nslab import BUILD, Docker, Lab, PREFIX, Tap, compose, run, wait

PROJECT = PREFIX + "p"
WEB, DB = PROJECT + "/web", PREFIX + "-db"
t = Tap()
lab = Lab(real_host=True)
docker = Docker(lab)
net = PREFIX + "-net"
docker.network(net)
good, evil = PREFIX + "-good", PREFIX + "-evil/web"
docker.make_image(good + ":1", "LABEL v=1")


def tag(old, new):
    run("docker", "tag", old, new)
    lab.later(run, "docker", "rmi", "-f", new, check=False)


def start(name, image, labels=None):
    return docker.run(PREFIX + name, image=image, network=net, labels=labels or compose(PROJECT, "web"))


def instance(place):
    return next((i for w in api.workloads().values() for i in w["instances"] if i["id"] == place.id[:12]), None)


def accepted(place, want, seconds=20):
    return wait(lambda: (instance(place) or {}).get("imageAccepted") is want, seconds)


def rules(place):
    return run("nsenter", "-t", str(place.pid), "-n", "nft", "list", "table", "inet", d.table(), check=False).out


def allowed(place):
    """Without the sets of local addresses, which allow nothing and are brought up to date by turns."""
    return re.sub(r"set local[46] \{.*?\n\t\}", "", rules(place), flags=re.S)


def is_closed(place):
    """Rules are in force that let nothing through, and nobody's rules know its address."""
    return wait(lambda: "drop" in rules(place) and place.tcp(db.v4, 5432, 0.2) != "open" and
                place.v4 not in allowed(db) + allowed(web) and db.tcp(place.v4, 80, 0.3) != "open" and
                web.tcp(place.v4, 80, 0.3) != "open", 20)


def is_open(place):
    return wait(lambda: place.tcp(db.v4, 5432, 0.2) == "open", 20)


def cli(*args):
    return run(BUILD + "/cli/nanoseg", "--socket", d.sock, *args, check=False)


d = lab.daemon(only="*" + PREFIX + "*")
api = d.api
db = docker.run(DB, network=net)
web = start("-w1", good + ":1")
db.serve(5432)
web.serve(80)
d.watched(WEB)
d.watched(DB)
t.ok(web.tcp(db.v4, 5432) == "open", "they talk")
e = wait(lambda: api.edge(from_="workload:" + WEB, to="workload:" + DB, port=5432), 5)
image_id = run("docker", "inspect", "-f", "{{.Image}}", web.id).out.strip()
db_image = run("docker", "inspect", "-f", "{{.Image}}", db.id).out.strip()
t.ok(e and e["images"] == {"from": [image_id[:23]], "to": [db_image[:23]]},
     "the edge has the digests of the images at both ends", e, image_id)
api.approve(e["id"])
api.mode("enforce", WEB, DB)
api.settle()
i = instance(web)
t.ok(i["image"] == good + ":1" and i["imageId"] == image_id and i["imageAccepted"] is True and
     api.workload(WEB)["images"] == [good], "status has each instance's image, and what is accepted", i)

# A new tag.
docker.make_image(good + ":2", "LABEL v=2")
second = start("-w2", good + ":2")
t.ok(is_open(second) and accepted(second, True), "a new tag has the workload's rules", instance(second))
shown = cli("status", "-o", "wide").out
t.ok(good + ":1" in shown and good + ":2" in shown, "and status shows which tags run", shown)

# Another repository: the same bytes under another name are another repository too.
tag(good + ":1", evil)
imposter = start("-w3", evil)
imposter.serve(80)
t.ok(accepted(imposter, False) and is_closed(imposter),
     "another repository under an enforced name is closed, in both directions, and in nobody's rules",
     instance(imposter), rules(imposter))
t.ok(is_open(web) and is_open(second), "the others are not concerned")
guest = docker.run(PREFIX + "-guest", image=evil, network="container:" + web.id)


def members():
    return {m["image"]: m["imageAccepted"] for m in (instance(web) or {}).get("members", [])}


t.ok(wait(lambda: members() == {good + ":1": True, evil: False}, 8) and is_open(web),
     "a guest of another image in its namespace takes nothing away from it", members())
t.ok(d.says("a guest has its rules, and the guest's image %s is not accepted" % evil) and instance(web)["imageAccepted"],
     "and is told of", d.text()[-1000:])
docker.rm(guest)
why = cli("status", "--why").out
t.ok("approve --image" in why and evil in why, "status says why, and what to do", why)
t.ok(d.says("error .*%s.*is closed" % PREFIX), "so does the log, once")
t.ok(not api.edges(from_="workload:" + WEB, state="pending"), "its attempts are no evidence of the workload",
     api.edges())
x = api.get("/v1/explain", src=imposter.v4, dst="workload:" + DB, port=5432)
t.ok(x["verdict"] != "allow" and WEB not in x["from"], "explain knows its address as nobody's", x)
r = [cli("approve", "--image", WEB, "--reason", "x"), cli("approve", "--image", WEB + "=" + evil),
     cli("approve", "--image", "nobody=" + evil, "--reason", "x")]
t.ok([x.returncode for x in r] == [2, 2, 2], "a decision needs a repository, a reason and a workload", r)

d.stop()
d.start()
d.watched(WEB, 3)
t.ok(accepted(imposter, False) and is_closed(imposter) and is_open(web), "a restart of the daemon changes nothing",
     instance(imposter))
r = cli("approve", "--image", WEB + "=" + evil, "--reason", "moved", "-o", "json")
# Rules that stand are left alone until everybody is known again, ten seconds at most.
t.ok(r.returncode == 0 and wait(lambda: is_open(imposter), 15, 0.2) and accepted(imposter, True),
     "a person agrees: it has the rules", r)
d.stop()
d.start()
d.watched(WEB, 3)
t.ok(is_open(imposter) and api.workload(WEB)["images"] == [good, evil], "and that lasts", api.workload(WEB)["images"])
record = [x for x in api.get("/v1/revisions") if x["action"] == "approve image"]
t.ok(len(record) == 1 and record[0]["reason"] == "moved", "the decision is on record", record)
r = cli("deny", "--image", WEB + "=" + evil, "--reason", "moved back")
t.ok(r.returncode == 0 and accepted(imposter, False) and is_closed(imposter), "and can be taken back", r)
run("docker", "rm", "-f", imposter.id)

# The tag moves on, and Docker shows the running container by an id.
docker.make_image(good + ":1", "LABEL v=3")
d.stop()
d.start()
d.watched(WEB, 2)
t.ok(wait(lambda: (instance(web) or {}).get("image") == good + ":1", 8) and accepted(web, True) and is_open(web),
     "a container whose tag means another image now stays what it was", instance(web))

# An image without a name goes by its id. A container that is committed passes its labels on: no claim.
made = run("docker", "commit", web.id).out.strip()
lab.later(run, "docker", "rmi", "-f", made, check=False)
claim = start("-w4", made)
t.ok(wait(lambda: api.workload(PREFIX + "-w4"), 8), "a committed image carries the workload's labels: they give nothing",
     api.workloads())
made = run("docker", "commit", db.id).out.strip()
lab.later(run, "docker", "rmi", "-f", made, check=False)
nameless = start("-w5", made)
t.ok(accepted(nameless, False) and is_closed(nameless), "an image that was committed without a name is another one",
     instance(nameless))
r = cli("approve", "--image", WEB + "=" + made, "--reason", "a fix")
t.ok(r.returncode == 0 and is_open(nameless), "it is accepted by its whole id", r)

# A name is taken by renaming.
api.mode("observe", DB)
other = docker.run(PREFIX + "-other", image=good + ":2", network=net)
run("docker", "rename", DB, DB + "-old")
run("docker", "rename", other.id, DB)
t.ok(wait(lambda: [i["id"] for i in api.workload(DB)["instances"]] == [other.id[:12]], 30) and
     api.workload(DB)["instances"][0]["imageAccepted"] is False,
     "under an observed name another image takes part, and status says that it is another", api.workload(DB))
run("docker", "rename", other.id, DB + "-new")
wait(lambda: not api.workload(DB)["instances"], 30)
api.mode("enforce", DB)
run("docker", "rename", other.id, DB)
t.ok(wait(lambda: (instance(other) or {}).get("imageAccepted") is False and "drop" in rules(other) and
          other.v4 not in rules(web), 30), "under an enforced one a renamed container gets nothing", instance(other))

# Rules of the configuration.
docker.make_image(PREFIX + "-baked", "LABEL team=" + PROJECT)
d.stop()
d.configure("idleExpiry: 3s\nidentity:\n"
            "  - match: {label.team: '%s', name: '*'}\n    workload: '${label.team}/${name}'\n"
            "  - match: {name: '%s-cfg*', image: '%s'}\n    workload: '%s/named'\n" % (PROJECT, PREFIX, good, PROJECT))
d.start()
labelled = start("-cfg1", good + ":2", {"team": PROJECT})
named = start("-cfg2", good + ":2", {"x": "y"})
baked = start("-cfg3", PREFIX + "-baked", {"x": "y"})
want = {PROJECT + "/" + PREFIX + "-cfg1": labelled, PROJECT + "/named": named, PREFIX + "-cfg3": baked}
t.ok(wait(lambda: all([i["id"] for i in (api.workload(n) or {"instances": []})["instances"]] == [p.id[:12]]
                      for n, p in want.items()), 8),
     "identity rules name what they match; a label out of an image matches nothing", list(api.workloads()))

# What is gone and was never decided about is forgotten.
run("docker", "rm", "-f", named.id, *[p.id for p in (web, second, nameless)])
t.ok(wait(lambda: PROJECT + "/named" not in api.workloads(), 30) and
     wait(lambda: api.workload(WEB)["idleSince"], 8) and api.workload(WEB)["mode"] == "enforce",
     "an idle workload is forgotten, an enforced one is shown as idle", list(api.workloads()))

# Images that may not run under whatever name. Nothing here was pushed to a registry or pulled from one, so
# there is no RepoDigests: the digest of an image is its id, as it always is to nanosegd.
yes, no = PREFIX + "-yes", PREFIX + "-no"
docker.make_image(yes + "/web:1", "LABEL v=4")
docker.make_image(no + "/web:1", "LABEL v=5")
yes_id, no_id = (run("docker", "image", "inspect", "-f", "{{.Id}}", x + "/web:1").out.strip() for x in (yes, no))


def allow(*what):
    d.configure("images: {allow: ['%s'], action: quarantine}\n" % "', '".join(what))


def shown(name):
    return next((x for x in cli("status").out.splitlines() if x.split()[:1] == [name]), "")


d.stop()
allow(yes_id, PREFIX + "-registry/*")
d.start()
good_one = docker.run(PREFIX + "-allowed", image=yes + "/web:1", network=net)
bad_one = docker.run(PREFIX + "-unapproved", image=no + "/web:1", network=net)
good_one.serve(80)
bad_one.serve(80)
d.watched(PREFIX + "-allowed")
d.watched(PREFIX + "-unapproved")
t.ok(wait(lambda: (instance(bad_one) or {}).get("imageApproved") is False, 8) and
     wait(lambda: (instance(good_one) or {}).get("imageApproved") is True, 8),
     "an image is approved by its id, another is not", instance(bad_one), instance(good_one))
t.ok(wait(lambda: instance(bad_one)["quarantined"], 8) and not instance(good_one)["quarantined"],
     "and who runs that one is held, as configured", instance(bad_one))
t.ok(wait(lambda: bad_one.tcp(good_one.v4, 80, 0.3) != "open" and good_one.tcp(bad_one.v4, 80, 0.3) != "open", 10),
     "in both directions")
t.ok("not approved" in shown(PREFIX + "-unapproved") and "not approved" not in shown(PREFIX + "-allowed"),
     "the table of status marks it", cli("status").out)
wide = cli("status", "-o", "wide").out
t.ok(no + "/web:1 (not approved)" in wide and yes + "/web:1 (not" not in wide, "and names its image in the wide form", wide)
x = api.get("/v1/explain", src="workload:" + PREFIX + "-unapproved", dst="workload:" + PREFIX + "-allowed", port=80)
t.ok([(u["workload"], u["imageId"]) for u in x["unapprovedImages"]] == [(PREFIX + "-unapproved", no_id)] and
     no + "/web:1" in cli("explain", PREFIX + "-unapproved", PREFIX + "-allowed:80").out, "explain says so", x)
n = re.search(r"^nanoseg_instances_unapproved (\d+)$", api.get("/metrics"), re.M)
judged = [i for w in api.workloads().values() for i in w["instances"] if i["imageApproved"] is False]
t.ok(n and int(n.group(1)) == len(judged) > 0, "the metrics count it", n, len(judged))
report = cli("export", "json", "--data-dir", os.path.join(os.environ.get("top_srcdir", "."), "contrib"))
t.ok([e["workload"] for e in json.loads(report.out)["exceptions"]
      if e["kind"] == "unapproved-image" and no_id in e["detail"]] == [PREFIX + "-unapproved"],
     "the evidence has it as an exception", report.err)
alerts = [a for a in api.get("/v1/alerts", kind="unapprovedImage")["alerts"] if a["instance"] == bad_one.id[:12]]
t.ok([a["severity"] for a in alerts] == ["error"] and no_id in alerts[0]["text"], "and it is an alert", alerts)
allow(yes_id, no + "/*")
t.ok(cli("reload").returncode == 0 and wait(lambda: instance(bad_one)["imageApproved"] is True and
                                            not instance(bad_one)["quarantined"], 15) and
     wait(lambda: good_one.tcp(bad_one.v4, 80, 0.3) == "open", 15),
     "its repository is allowed: it is let go", instance(bad_one))
t.done()
