//! `devsup iam` as it is typed, and what of `examples/terraform` can be known without Terraform. What they say to AWS is
//! tried at an emulator by `tests/clients/terraform.py`.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;

use crate::place::sources;
use crate::project::Project;

const MANIFEST: &str = r#"
name = "shop"
[aws]
base_role = "arn:aws:iam::033145145979:role/dev"
role_prefix = "arn:aws:iam::033145145979:role/"
[defaults]
command = ["sleep", "1000"]
[services.a]
role = "service-a"
[services.b]
role = { arn = "service-b", external_id = "x-1" }
[services.plain]
[services.machine]
inherit_aws = true
"#;

const DEV: &str = "arn:aws:iam::033145145979:role/dev";
const A: &str = "arn:aws:iam::033145145979:role/service-a";
const B: &str = "arn:aws:iam::033145145979:role/service-b";

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn it_needs_no_network_no_home_and_leaves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket of ours");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    let mut project = Project::new(MANIFEST);
    for name in ["HOME", "XDG_STATE_HOME"] {
        project.env.remove(name);
    }
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"] {
        project.env.insert(name.into(), nobody.clone());
    }
    for what in ["policy", "trust", "terraform"] {
        let output = project.devsup(&["iam", what]).ok();
        assert!(output.stdout.contains("DevsupAssume") || output.stdout.contains("DevsupTrust"), "{output:?}");
    }
    assert!(project.devsup(&["iam"]).ok().stdout.contains(DEV));
    assert!(listener.accept().is_err(), "somebody was asked");
    let left: Vec<_> = fs::read_dir(project.path(".")).expect("its folder").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name == "services.toml" || name == "home"), "{left:?}");
}

#[test]
fn json_is_one_object_a_line_and_the_page_has_it_all() {
    let project = Project::new(MANIFEST);
    let all = json(&project.devsup(&["iam", "--format", "json"]).ok().stdout);
    let kinds: Vec<&Value> = all.iter().map(|line| &line["kind"]).collect();
    assert_eq!(kinds, ["policy", "trust", "trust"]);
    assert_eq!(all[0]["principal"], DEV);
    assert_eq!(all[0]["document"]["Statement"][0]["Resource"], serde_json::json!([A, B]));
    assert_eq!(all[2]["statements"][0]["Condition"]["StringEquals"]["sts:ExternalId"], "x-1");
    let policy = json(&project.devsup(&["iam", "policy", "--format", "json"]).ok().stdout);
    let trust = json(&project.devsup(&["iam", "trust", "--format", "json"]).ok().stdout);
    assert_eq!([policy, trust].concat(), all);
    let page = project.devsup(&["iam"]).ok().stdout;
    for arn in [A, B] {
        assert!(page.contains(&format!("append to the trust policy of `{arn}`")), "{page}");
    }
    let only = project.devsup(&["iam", "policy", "--for", "b"]).ok();
    let document: Value = serde_json::from_str(&only.stdout).expect("stdout is the document alone");
    assert_eq!(document["Statement"][0]["Resource"], serde_json::json!([B]));
    assert!(only.stderr.contains(DEV), "whose it is: {only:?}");
}

#[test]
fn what_cannot_be_answered_is_said() {
    let project = Project::new(MANIFEST);
    let said = |args: &[&str], code: i32, words: &str| {
        let output = project.devsup(args).ends(code);
        assert!(output.stdout.is_empty() && output.stderr.contains(words), "{args:?}: {output:?}");
    };
    said(&["iam", "--for", "c"], 4, "service `c`: no such service");
    said(&["iam", "policy", "--for", "plain"], 2, "it has no `role`");
    said(&["iam", "trust", "--for", "machine"], 2, "`inherit_aws`");
    said(&["iam", "policy", "--trust", "arn"], 2, "`--trust` says nothing");
    said(&["iam", "terraform", "--format", "json"], 2, "HCL");
    said(&["iam", "trust", "--trust", "everybody"], 2, "condition");
    said(&["iam", "policies"], 2, "terraform");
    let none = Project::new("[services.a]\ncommand = [\"true\"]\n");
    assert!(none.devsup(&["iam"]).ends(2).stderr.contains("no service of this manifest has a role"));
    let unknown = Project::new(&MANIFEST.replace("base_role", "# base_role"));
    let output = unknown.devsup(&["iam", "trust"]).ok();
    assert!(output.stderr.contains("REPLACE_WITH_YOUR_DEV_ROLE_ARN") && output.stdout.contains("REPLACE_WITH"));
    let hcl = unknown.devsup(&["iam", "terraform"]).ok().stdout;
    assert!(hcl.contains("variable \"devsup_base_role_arn\"") && !hcl.contains("REPLACE"), "{hcl}");
}

/// The policy that devsup prints is one that the sandbox understands: as a session policy it leaves AssumeRole and no bucket.
#[test]
fn another_reader_of_policies_understands_the_printed_one() {
    let sandbox = "[sandbox]\nbuckets = { bucket1 = [\"service-a\", \"service-b\"] }\n";
    let project = Project::new(&format!("{MANIFEST}{sandbox}"));
    project.write("policy.json", &project.devsup(&["iam", "policy"]).ok().stdout);
    let narrowed = "role = { arn = \"service-a\", policy = \"policy.json\" }";
    project.write("services.toml", &format!("{MANIFEST}{sandbox}").replace("role = \"service-a\"", narrowed));
    project.up_sandbox();
    let devsup = crate::place::devsup();
    let devsup = devsup.to_str().expect("a path");
    let tried =
        |service: &str| project.devsup(&["exec", service, "--", devsup, "whoami", "--try", "s3://bucket1"]).ok().stdout;
    assert_eq!(tried("a"), "service-a · bucket1 AccessDenied\n");
    assert_eq!(tried("b"), "service-b · bucket1 ok\n");
}

const CONFIGURATIONS: [&str; 3] = ["problem", "solution-by-role", "solution-by-account"];

fn example(configuration: &str, file: &str) -> String {
    let path: PathBuf = sources().join("examples/terraform").join(configuration).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_three_configurations_differ_in_their_story_only() {
    for file in ["provider.tf", "variables.tf", "instance.tf", "outputs.tf"] {
        let all = CONFIGURATIONS.map(|configuration| example(configuration, file));
        assert!(all.iter().all(|text| *text == all[0]), "{file} is the same in all three");
    }
    for configuration in CONFIGURATIONS {
        let main = example(configuration, "main.tf");
        let roles = main.matches("resource \"aws_iam_role\" ").count();
        assert_eq!(roles, 2, "{configuration}: role1 and role2");
        assert_eq!(main.contains("aws_iam_role.role1.arn"), configuration == "solution-by-role");
        assert_eq!(main.contains(":root\""), configuration == "solution-by-account");
        assert_eq!(main.contains("resources = [aws_iam_role.role2.arn]"), configuration != "problem");
    }
    let provider = example("problem", "provider.tf");
    assert!(provider.contains("version = \"~> 5.0\"") && provider.contains("allowed_account_ids"));
    let variables = example("problem", "variables.tf");
    for name in
        ["account_id", "region", "bucket_name", "prefix", "make_instance", "ssh_public_key", "emulator_endpoint"]
    {
        assert!(variables.contains(&format!("variable \"{name}\"")), "{name}");
    }
}

/// Each page tells the denial, and its manifest is one that devsup takes.
#[test]
fn the_pages_of_the_configurations_end_in_a_manifest_that_works() {
    for configuration in CONFIGURATIONS {
        let page = example(configuration, "README.md");
        assert!(page.contains("AccessDenied) when calling the ListObjectsV2 operation"), "{configuration}");
        assert_eq!(page.contains("aws s3 cp hello s3://BUCKET/"), configuration != "problem");
        let (_, manifest) = page.split_once("```toml\n").expect("a manifest");
        let (manifest, _) = manifest.split_once("```").expect("its end");
        let project = Project::new(manifest);
        let lines = json(&project.devsup(&["iam", "--format", "json"]).ok().stdout);
        assert_eq!(lines[0]["principal"], "arn:aws:iam::033145145979:role/devsup-example-role1", "{configuration}");
    }
}
